// A disk's I/O over NBD, by libnbd: one connection for each process.
//
// A server that offers the connections of several processes for writing must promise that a flush
// on one covers what was completed on another (NBD_FLAG_CAN_MULTI_CONN): checked.
//
// There is no fence for a killed process here: what it sent may still be in the server's socket.
// What is certain is the end of the server (~NbdServer), to be started anew.
#pragma once

#include <memory>
#include <string>

#include "fabric/fd.h"
#include "srt/disk.h"
#include "srt/disk_engine.h"

struct nbd_handle;

namespace dvm::srt {

class NbdEngine final : public DiskEngine {
 public:
  // Connects. `geometry` is the server's (NbdServer::geometry).
  static Result<std::unique_ptr<NbdEngine>> connect(const std::string& socket_path,
                                                    const DiskSpec& spec,
                                                    const DiskGeometry& geometry);
  ~NbdEngine() override;

  Status prepare(u32 depth) override;
  void enter() override {}
  void start(DiskTask& task) override;
  bool run(bool block, std::vector<EndedTask>& ended) override;
  const Fd& bell() const override { return bell_; }

 private:
  NbdEngine(nbd_handle* nbd, const DiskSpec& spec, const DiskGeometry& geometry)
      : nbd_(nbd), spec_(spec), geometry_(geometry) {}

  struct Command;
  static int on_complete(void* data, int* error);
  int check(const DiskRequest& request) const;
  void issue(DiskTask& task);
  i64 send(DiskTask& task, Command* command);
  void completed(DiskTask& task, u64 moved, int error);
  bool wait(bool block);

  nbd_handle* nbd_;
  DiskSpec spec_;
  DiskGeometry geometry_;
  Fd bell_;
  std::vector<EndedTask> ended_;
};

}  // namespace dvm::srt
