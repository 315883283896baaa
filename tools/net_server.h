// The process behind a user network: carries packets between the guest's queues and libslirp's
// sockets. It serves the queues itself, as any process that has the pool can, so a packet is copied
// once on its way out of guest memory and no node stands in between.
//
// Two threads, one mutex: the doorbell is a futex in the pool, sockets are waited for by epoll, and
// no system call waits for both.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

#include "tools/user_network.h"
#include "vmm/net/net_device.h"
#include "vmm/net/transmit_pace.h"

namespace dvm::tools {

class NetServer {
 public:
  // An error: a port that cannot be forwarded. `machine` has a network device.
  static Result<std::unique_ptr<NetServer>> create(vmm::Machine& machine, u32 function,
                                                   const std::vector<HostForward>& forwards);
  ~NetServer();
  NetServer(const NetServer&) = delete;
  NetServer& operator=(const NetServer&) = delete;

  // Starts with whatever waits in the queues: another may have died serving them.
  void start();
  // Serves what was notified, then sleeps until there is more or CLOCK_MONOTONIC reaches
  // `deadline_ns`. Threads: one.
  void serve_guest(u64 deadline_ns);

 private:
  NetServer(vmm::Machine& machine, u32 function) : device_(machine, function) {}
  void serve_sockets();
  u32 wait_for_guest(u64 deadline_ns);
  u32 transmit(u16 pair, vmm::WhenEmpty when_empty);  // 0: nothing left
  void send(u16 pair);

  vmm::NetDevice device_;
  std::mutex mutex_;  // for all below
  std::unique_ptr<UserNetwork> network_;
  vmm::net::PacketQueue to_guest_;
  vmm::net::ReceiveOffloads offloads_;
  vmm::net::TransmitPace pace_;
  u32 watched_ = 0;  // queues that are looked at when sleep_ns_ is over: their driver was not asked
  u64 sleep_ns_ = 0;
  // A batch on its way out: headers, and the frames one behind the other.
  struct Outgoing {
    vmm::net::Header header;
    u32 bytes;
  };
  std::vector<Outgoing> batch_;
  std::vector<std::byte> frames_;
  std::atomic<bool> stop_ = false;
  Fd stop_event_;
  std::thread sockets_;
};

}  // namespace dvm::tools
