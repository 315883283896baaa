#include "vmm/virtio/device.h"

#include "vmm/virtio/interrupts.h"
#include "vmm/virtio/registers.h"

namespace dvm::vmm {

bool virtio_queue_live(const VirtioPciState& state, u16 queue) {
  constexpr u8 kMask = virtio::kStatusDriverOk | virtio::kStatusNeedsReset;
  return queue < state.queue_count && (state.status & kMask) == virtio::kStatusDriverOk &&
         state.reset_pending == 0 && state.queues[queue].ready != 0 && bus_master(state.pci);
}

std::optional<LiveQueue> virtio_live_queue(const VirtioPciState& state, u16 queue) {
  if (!virtio_queue_live(state, queue)) return std::nullopt;
  return LiveQueue{state.queues[queue], state.driver_features, state.generation};
}

void virtio_adopt(QueueState& queue, const LiveQueue& live) {
  if (queue.generation == live.generation) return;
  const u64 moved = queue.moved;
  queue = make_queue(live.setup, live.generation);
  queue.moved = moved;
}

void virtio_config_changed(VirtioPciState& state, Effects& effects) {
  state.config_generation++;
  if ((state.status & virtio::kStatusDriverOk) != 0) virtio_raise_config_interrupt(state, effects);
}

void virtio_fail(VirtioPciState& state, Effects& effects) {
  if ((state.status & virtio::kStatusNeedsReset) != 0) return;
  state.status |= virtio::kStatusNeedsReset;
  if ((state.status & virtio::kStatusDriverOk) != 0) virtio_raise_config_interrupt(state, effects);
}

}  // namespace dvm::vmm
