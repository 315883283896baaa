// What a virtio device does with its queues and configuration, with the rules for a driver that
// breaks the protocol applied: the device then asks to be reset (virtio 1.2 §2.1.2) and touches no
// queue until it is.
//
// A device serves a queue in two steps (see queue.h for why), each published before the next:
//   1. virtio_pop ... virtio_push_used, until nothing is left
//   2. virtio_flush_used
// A node that takes the device over from a dead one first does virtio_recover, then both steps for
// every queue.
#pragma once

#include "hyperkernel/guest_memory.h"
#include "vmm/effects.h"
#include "vmm/virtio/pci_state.h"

namespace dvm::vmm {

// The device may use the queue: driver ready, queue enabled, bus mastership given, no error.
bool virtio_queue_live(const VirtioPciState& state, u16 queue);

// The next chain of a live queue; false when there is none.
bool virtio_pop(VirtioPciState& state, u16 queue, const hyperkernel::GuestMemory& memory,
                Chain& chain, Effects& effects);
// False when the device has failed.
bool virtio_push_used(VirtioPciState& state, u16 queue, const hyperkernel::GuestMemory& memory,
                      u16 head, u32 bytes_written, Effects& effects);

// Shows the driver what was pushed to any queue, and interrupts it where it wants that.
void virtio_flush_used(VirtioPciState& state, const hyperkernel::GuestMemory& memory,
                       Effects& effects);
// As flush, but stores the index and interrupts in any case: whether the dead node got to either is
// unknown, and both may happen twice.
void virtio_recover(VirtioPciState& state, const hyperkernel::GuestMemory& memory,
                    Effects& effects);

// After changing device_config: a new generation and a notification (virtio 1.2 §2.5, §4.1.4.3.1).
void virtio_config_changed(VirtioPciState& state, Effects& effects);
// The driver broke a rule: DEVICE_NEEDS_RESET.
void virtio_fail(VirtioPciState& state, Effects& effects);

}  // namespace dvm::vmm
