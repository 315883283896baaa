// What serving a virtio device's queues needs of its registers, and what a device tells its driver
// beyond queues. The rules for a driver that breaks the protocol are applied here: the device then
// asks to be reset (virtio 1.2 §2.1.2) and touches no queue until it is.
//
// A queue is served in two steps (see queue.h for why), each published before the next:
//   1. queue_pop ... queue_push_used, until nothing is left
//   2. queue_flush_used
// A node that takes a queue over from a dead one first does queue_republish_used, then both steps,
// and interrupts in any case (vmm/machine_virtio.cc).
#pragma once

#include <optional>

#include "vmm/effects.h"
#include "vmm/virtio/pci_state.h"

namespace dvm::vmm {

// The device may use the queue: driver ready, queue enabled, bus mastership given, no error, no
// reset on its way.
bool virtio_queue_live(const VirtioPciState& state, u16 queue);

// A live queue as its driver set it up.
struct LiveQueue {
  QueueSetup setup;
  u64 features;  // negotiated
  u32 generation;
};
std::optional<LiveQueue> virtio_live_queue(const VirtioPciState& state, u16 queue);
// Makes the queue's own state that of this set-up: unchanged, or new after a reset.
void virtio_adopt(QueueState& queue, const LiveQueue& live);

// After changing device_config: a new generation and a notification (virtio 1.2 §2.5, §4.1.4.3.1).
void virtio_config_changed(VirtioPciState& state, Effects& effects);
// The driver broke a rule: DEVICE_NEEDS_RESET.
void virtio_fail(VirtioPciState& state, Effects& effects);

}  // namespace dvm::vmm
