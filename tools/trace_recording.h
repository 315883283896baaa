// `dvm-ctl trace`: what nodes' pagers see of the guest for a while, into a file
// (hyperkernel/locality/trace_format.h).
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "tools/long_request.h"
#include "vmm/machine.h"

namespace dvm::tools {

inline constexpr u32 kDefaultTraceSeconds = 10;
inline constexpr u32 kMaxTraceSeconds = 3600;

// Records for so long, or until the guest ends or a trace can hold no more, and writes the file,
// which appears at `path` when it is whole. Error: nothing can be seen of this guest.
class TraceRecording : public LongRequest {
 public:
  TraceRecording(vmm::Machine& machine, std::string path, u32 seconds, RequestListener listener);
  ~TraceRecording() override;
  TraceRecording(const TraceRecording&) = delete;
  TraceRecording& operator=(const TraceRecording&) = delete;

 private:
  Status record();

  vmm::Machine& machine_;
  const std::string path_;
  const u32 seconds_;
  const RequestListener listener_;
  std::atomic<bool> cancelled_{false};
  std::thread thread_;  // last: uses the others
};

// Pages of a guest without software coherence do not fault.
Status check_traceable(const vmm::Machine& machine);

}  // namespace dvm::tools
