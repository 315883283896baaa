// A disk's I/O over NBD, by libnbd: one connection for each process.
//
// A server that offers the connections of several processes for writing must promise that a flush
// on one covers what was completed on another (NBD_FLAG_CAN_MULTI_CONN): checked.
//
// There is no fence for a killed process here: what it sent may still be in the server's socket.
// What is certain is the end of the server (~NbdServer), which is started anew then. So a
// connection that ends is made again, and what was not answered is sent again: it may be done
// twice, which does no harm as nobody has been told of its end.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "fabric/fd.h"
#include "srt/disk.h"
#include "srt/disk_engine.h"

struct nbd_handle;

namespace dvm::srt {

class NbdEngine final : public DiskEngine {
 public:
  using Clock = std::chrono::steady_clock;
  // How long a server that has gone is waited for; then all requests fail.
  static constexpr Clock::duration kPatience = std::chrono::seconds(30);

  // Connects. `geometry` is the server's (NbdServer::geometry).
  static Result<std::unique_ptr<NbdEngine>> connect(const std::string& socket_path,
                                                    const DiskSpec& spec,
                                                    const DiskGeometry& geometry,
                                                    Clock::duration patience = kPatience);
  ~NbdEngine() override;

  Status prepare(u32 depth) override;
  void enter() override {}
  void start(DiskTask& task) override;
  bool run(bool block, std::vector<EndedTask>& ended) override;
  const Fd& bell() const override { return bell_; }

 private:
  NbdEngine(std::string socket_path, const DiskSpec& spec, const DiskGeometry& geometry,
            Clock::duration patience)
      : socket_path_(std::move(socket_path)),
        spec_(spec),
        geometry_(geometry),
        patience_(patience) {}

  struct Command;
  static int on_complete(void* data, int* error);
  int check(const DiskRequest& request) const;
  void issue(DiskTask& task);
  i64 send(DiskTask& task, Command* command);
  void completed(DiskTask& task, u64 moved, int error);
  bool wait(bool block);
  Status open();
  bool is_lost() const;
  void reconnect();

  const std::string socket_path_;
  nbd_handle* nbd_ = nullptr;
  DiskSpec spec_;
  DiskGeometry geometry_;
  const Clock::duration patience_;
  Clock::time_point lost_since_{}, next_try_{};  // of a connection that has ended
  bool given_up_ = false;
  std::vector<DiskTask*> again_;  // to be sent by the next connection
  Fd bell_;
  std::vector<EndedTask> ended_;
};

}  // namespace dvm::srt
