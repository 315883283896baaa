// dvm-run --srt-warm FILE: what the guest wanted from its disks, for its next boot on a machine
// whose memory was lost meanwhile.
//
// Written once a minute if it has changed, and at the end; whole or not at all. A guest that ended
// early has not shown what it wants, and does not replace what an earlier one has left.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "tools/warm_blocks.h"

namespace dvm::tools {

class WarmFile {
 public:
  // A usage error: no file can be made there.
  static Status check(const std::string& path);
  // What the file wants is wanted of the machine, which no node has joined yet; there may be no
  // file. What is wrong with it is said in a line, and it is left out.
  static void load(const std::string& path, vmm::Machine& machine, const GuestDisks& disks);

  // Writes from now on. The machine, which has a replica table, and `disks` outlive it.
  WarmFile(std::string path, vmm::Machine& machine, const GuestDisks& disks);
  // Writes a last time, if the guest ran long enough or has ended by itself.
  ~WarmFile();
  WarmFile(const WarmFile&) = delete;
  WarmFile& operator=(const WarmFile&) = delete;

 private:
  void run(const std::stop_token& stop);
  bool may_replace() const;
  void write();
  Status write(const std::string& text) const;

  const std::string path_;
  vmm::Machine& machine_;
  const GuestDisks& disks_;
  const u64 began_ns_;
  u64 told_ = 0;         // what the table had been told by what is written
  std::string written_;  // the file's text, if it is ours
  std::mutex mutex_;
  std::condition_variable_any woken_;
  std::jthread thread_;
};

}  // namespace dvm::tools
