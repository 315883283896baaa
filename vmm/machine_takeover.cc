// What a process that died had in hand of the virtio queues. A chain stays in hand (QueueState)
// from before its request is issued until nobody's I/O for it can go on; the queue's lock passes it
// from the dead to exactly one survivor, in one published step, so that who takes over may die as
// well.
#include <algorithm>

#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

bool is_orphan(u8 holder, const fabric::InstanceTable& instances) {
  return holder != 0 && instances.has_ended(holder - 1u);
}

}  // namespace

// Of a lock that comes from the dead nothing else is mended here: whoever hears of that death shows
// the driver the queue again (Machine::mend_devices).
TakenOver Machine::take_over_chains(u32 function, u16 queue) {
  TakenOver taken;
  if (function >= kMaxFunctions || queue >= kMaxVirtioQueues) return taken;
  DeviceCell<QueueState>& cell = state_->functions[function].queues[queue];
  const fabric::LockGuard guard(cell.lock, self_, *instances_);
  if (cell.published().in_flight == 0) return taken;
  publish_step(cell, [&](QueueState& q) {
    taken.generation = q.generation;
    for (u16 head = 0; head < kMaxQueueSize; ++head) {
      if (!is_orphan(q.holder[head], *instances_)) continue;
      queue_hold(q, head, self_.id);
      taken.heads.push_back(head);
    }
  });
  return taken;
}

bool Machine::any_in_flight() {
  for (VirtioFunction& function : state_->functions) {
    for (auto& queue : function.queues) {
      if (look(queue, [](const QueueState& q) { return q.in_flight != 0; })) return true;
    }
  }
  return false;
}

bool Machine::holds_chains(u32 instance_id) {
  const auto holds = [&](const QueueState& q) {
    return q.in_flight != 0 &&
           std::ranges::find(q.holder, static_cast<u8>(instance_id + 1)) != q.holder.end();
  };
  for (VirtioFunction& function : state_->functions) {
    for (auto& queue : function.queues) {
      if (look(queue, holds)) return true;
    }
  }
  return false;
}

}  // namespace dvm::vmm
