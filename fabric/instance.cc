#include "fabric/instance.h"

namespace dvm::fabric {

InstanceId InstanceTable::join(u32 id, i32 pid) {
  InstanceSlot& slot = slots[id];
  slot.pid.store(pid, std::memory_order_relaxed);
  slot.state.store(InstanceState::active, std::memory_order_relaxed);
  const u32 generation = slot.generation.fetch_add(1, std::memory_order_acq_rel) + 1;
  return {id, generation};
}

void InstanceTable::retire(InstanceId instance, InstanceState how) {
  if (instance.id >= kMaxInstances) return;
  InstanceSlot& slot = slots[instance.id];
  u32 expected = instance.generation;
  // Moves the generation on, so that exactly one caller retires an instance.
  if (slot.generation.compare_exchange_strong(expected, expected + 1, std::memory_order_acq_rel)) {
    slot.state.store(how, std::memory_order_release);
  }
}

bool InstanceTable::has_ended(u32 id) const {
  const InstanceState state = slots[id].state.load(std::memory_order_acquire);
  return state != InstanceState::active && state != InstanceState::suspect;
}

bool InstanceTable::is_stale(InstanceId instance) const {
  if (instance.id >= kMaxInstances || !instance.valid()) return true;
  return slots[instance.id].generation.load(std::memory_order_acquire) != instance.generation;
}

}  // namespace dvm::fabric
