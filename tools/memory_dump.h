// `dvm-ctl dump`: writes a guest's memory and registers to a file while the guest stands still.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "tools/long_request.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Pauses the guest and returns when every vCPU stands still. `command` is for messages.
Status pause_guest(vmm::Machine& machine, std::string_view command);

using DumpProgress = RequestProgress;  // bytes of the guest's memory

// Writes the core file (tools/elf_core.h) of a paused guest. Pages of zeros become holes. The file
// appears at `path` when it is whole; after an error there is none. `go_on` is asked every few MiB;
// if it says no, that is an error.
Status write_core(vmm::Machine& machine, const std::string& path,
                  const std::function<Status(DumpProgress)>& go_on);

// A dump on a thread of its own, with a pause and a resume around it unless the guest was paused.
class MemoryDump : public LongRequest {
 public:
  MemoryDump(vmm::Machine& machine, std::string path, RequestListener listener);
  ~MemoryDump() override;
  MemoryDump(const MemoryDump&) = delete;
  MemoryDump& operator=(const MemoryDump&) = delete;

 private:
  Status dump();
  Status go_on(DumpProgress progress);

  vmm::Machine& machine_;
  const std::string path_;
  const RequestListener listener_;
  std::atomic<bool> cancelled_{false};
  u64 said_ns_ = 0;
  std::thread thread_;
};

}  // namespace dvm::tools
