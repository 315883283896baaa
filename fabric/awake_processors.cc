#include "fabric/awake_processors.h"

#include <fcntl.h>

#include <array>

namespace dvm::fabric {

Result<AwakeProcessors> AwakeProcessors::ask() {
  constexpr const char* kPath = "/dev/cpu_dma_latency";
  constexpr std::array<std::byte, 4> kNoLatency{};  // an s32: microseconds
  DVM_ASSIGN(Fd request, Fd::open(kPath, O_WRONLY));
  DVM_TRY(request.write_all(kNoLatency, kPath));
  return AwakeProcessors(std::move(request));
}

}  // namespace dvm::fabric
