#include "vmm/virtio/device.h"

#include "vmm/virtio/interrupts.h"
#include "vmm/virtio/registers.h"

namespace dvm::vmm {

using hyperkernel::GuestMemory;

bool virtio_queue_live(const VirtioPciState& state, u16 queue) {
  constexpr u8 kMask = virtio::kStatusDriverOk | virtio::kStatusNeedsReset;
  return queue < state.queue_count && (state.status & kMask) == virtio::kStatusDriverOk &&
         state.queues[queue].ready != 0 && bus_master(state.pci);
}

bool virtio_pop(VirtioPciState& state, u16 queue, const GuestMemory& memory, Chain& chain,
                Effects& effects) {
  if (!virtio_queue_live(state, queue)) return false;
  const auto popped = queue_pop(state.queues[queue], memory, chain);
  if (!popped.ok()) virtio_fail(state, effects);
  return popped.ok() && popped.value();
}

bool virtio_push_used(VirtioPciState& state, u16 queue, const GuestMemory& memory, u16 head,
                      u32 bytes_written, Effects& effects) {
  if (!virtio_queue_live(state, queue)) return false;
  const Status pushed = queue_push_used(state.queues[queue], memory, head, bytes_written);
  if (!pushed.ok()) virtio_fail(state, effects);
  return pushed.ok();
}

void virtio_flush_used(VirtioPciState& state, const GuestMemory& memory, Effects& effects) {
  for (u16 q = 0; q < state.queue_count; q++) {
    if (!virtio_queue_live(state, q)) continue;
    const auto wanted = queue_flush_used(state.queues[q], memory);
    if (!wanted.ok()) {
      virtio_fail(state, effects);
    } else if (wanted.value()) {
      virtio_raise_queue_interrupt(state, q, effects);
    }
  }
}

void virtio_recover(VirtioPciState& state, const GuestMemory& memory, Effects& effects) {
  for (u16 q = 0; q < state.queue_count; q++) {
    if (!virtio_queue_live(state, q)) continue;
    if (!queue_republish_used(state.queues[q], memory).ok()) {
      virtio_fail(state, effects);
      continue;
    }
    virtio_raise_queue_interrupt(state, q, effects);
  }
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
