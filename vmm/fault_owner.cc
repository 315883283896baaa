#include "vmm/fault_owner.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hyperkernel/locality/observation.h"

namespace dvm::vmm {
namespace {

bool is_ours(u32 thread) {
  return ::syscall(SYS_tgkill, ::getpid(), static_cast<pid_t>(thread), 0) == 0;
}

}  // namespace

u16 vcpu_that_waits(const MachineState& m, u32 node, u32 thread) {
  u16 in_guest = locality::kNoVcpu;
  u32 candidates = 0;
  for (u32 i = 0; i < m.config.vcpus; ++i) {
    const VcpuRecord& v = m.vcpus[i];
    if (v.node() != node) continue;
    if (static_cast<u32>(v.tid.load(std::memory_order_relaxed)) == thread)
      return static_cast<u16>(i);
    if (v.run_state.load(std::memory_order_relaxed) != VcpuRunState::in_guest) continue;
    in_guest = static_cast<u16>(i);
    ++candidates;
  }
  return candidates == 1 && !is_ours(thread) ? in_guest : locality::kNoVcpu;
}

}  // namespace dvm::vmm
