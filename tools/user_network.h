// A network of the guest's own, made by libslirp of ordinary sockets: needs no rights on the host.
// 10.0.2.0/24 and fec0::/64, the host at .2, DNS at .3, DHCP from .15 on, as QEMU's user network.
//
// Threads: one at a time, all functions; only wait() may run beside the others.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "fabric/fd.h"
#include "tools/net_option.h"

struct Slirp;

namespace dvm::tools {

class UserNetwork {
 public:
  // A frame for the guest. Not called from a constructor.
  using ToGuest = std::function<void(std::span<const std::byte> frame)>;

  // An error names the forward that cannot be had (a port that is taken), or slirp.
  static Result<std::unique_ptr<UserNetwork>> create(const std::vector<HostForward>& forwards,
                                                     ToGuest to_guest);
  ~UserNetwork();
  UserNetwork(const UserNetwork&) = delete;
  UserNetwork& operator=(const UserNetwork&) = delete;

  // A frame from the guest, whole and with its checksums. May call ToGuest. After the last one of
  // a batch: arm().
  void input(std::span<const std::byte> frame);
  // Sleeps until a socket or a timer is due. What the other functions change takes effect at once.
  void wait() const;
  // Does what is due, and arms anew. May call ToGuest.
  void serve();
  // Tells the kernel which sockets and which time to wait for.
  void arm();
  // A descriptor of the caller's that ends wait() when it is readable.
  Status watch(int fd);

 private:
  struct Timer {
    void (*due)(void*);
    void* opaque;
    i64 deadline_ms = -1;
  };
  struct Polled {
    int fd;
    int events;  // slirp's
    int found = 0;
  };
  struct Callbacks;
  friend struct Callbacks;

  explicit UserNetwork(ToGuest to_guest) : to_guest_(std::move(to_guest)) {}
  Status open();
  Status forward(const HostForward& forward);
  void collect();
  void run_timers();
  void arm_timer(u32 timeout_ms);
  void poll_for(int fd, u32 events);
  void forget(int fd);

  ToGuest to_guest_;
  Slirp* slirp_ = nullptr;
  Fd epoll_, timer_;
  std::vector<Polled> polled_;              // by slirp's index, since the last arm()
  std::map<int, std::size_t> index_of_fd_;  // in polled_
  std::map<int, u32> armed_;                // epoll's events
  std::vector<std::unique_ptr<Timer>> timers_;
  i64 armed_ns_ = -1;
};

}  // namespace dvm::tools
