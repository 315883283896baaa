#include "hyperkernel/peers.h"

namespace dvm::hyperkernel {

bool Peers::stopped(u32 node) const {
  const auto who =
      fabric::InstanceId::unpack(coherence_->node(node).instance.load(std::memory_order_acquire));
  return !who.valid() || instances_->is_stale(who);
}

std::shared_ptr<const LocalMemory> Peers::memory(u32 node) {
  Held& held = held_[node];
  const std::lock_guard guard(held.lock);
  const auto& record = coherence_->node(node);
  const u64 instance = record.instance.load(std::memory_order_acquire);
  if (held.memory && held.instance == instance) return held.memory;
  auto reached = LocalMemory::reach(record);
  if (!reached.ok()) return nullptr;
  held.instance = instance;
  held.memory = std::make_shared<const LocalMemory>(reached.take());
  return held.memory;
}

bool Peers::hold_all() {
  bool any = false;
  for (u32 node = 0; node < kMaxNodes; ++node) {
    auto& record = coherence_->node(node);
    if (node == self_ || record.instance.load(std::memory_order_acquire) == 0 || stopped(node))
      continue;
    if ((record.held_by.load() & only(self_)) != 0 || memory(node) == nullptr) continue;
    record.held_by.fetch_or(only(self_));
    any = true;
  }
  return any;
}

bool Peers::all_hold_ours() const {
  const u64 held = coherence_->node(self_).held_by.load();
  for (u32 node = 0; node < kMaxNodes; ++node) {
    if (node != self_ && !stopped(node) && (held & only(node)) == 0) return false;
  }
  return true;
}

void Peers::forget(u32 node) {
  const std::lock_guard guard(held_[node].lock);
  held_[node].memory.reset();
}

}  // namespace dvm::hyperkernel
