#include "vmm/vcpu_passage.h"

#include "fabric/failpoint.h"

namespace dvm::vmm {

void note_instant(std::atomic<u64>& instant) {
  instant.store(fabric::monotonic_ns(), std::memory_order_relaxed);
}

std::optional<VcpuPlace> commit_move(VcpuRecord& v, u8 node) {
  note_instant(v.move.committed);
  const auto from = take_step(v.place, {PlaceStep::Kind::hand_over, node});
  if (!from) return from;
  fabric::failpoint("move.committed");
  fabric::ring(v.arrival);
  return from;
}

Status copy_vcpu_state(VcpuRecord& v, const VcpuState& pooled, u32 vcpu, u32 injection,
                       VcpuState& copy) {
  note_instant(v.move.woken);
  copy_meaningful(pooled, copy);
  Status good = check_vcpu_state(copy, vcpu, injection);
  note_instant(v.move.checked);
  return good;
}

}  // namespace dvm::vmm
