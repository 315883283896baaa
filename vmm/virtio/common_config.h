// The common configuration structure: status, feature negotiation and queue set-up (virtio 1.2
// §4.1.4.3).
#pragma once

#include "vmm/virtio/pci_state.h"
#include "vmm/virtio/registers.h"

namespace dvm::vmm {

// The structure as the driver reads it now.
virtio::CommonConfig virtio_common_config(const VirtioPciState& state);

// A field is written at its natural width, a 64-bit one also by halves (§4.1.3.1); other writes do
// nothing. True if it asks for a reset: reset_pending is set, and virtio_reset is to follow once
// nothing is in flight.
bool virtio_common_write(VirtioPciState& state, u64 offset, u8 size, u64 value);

// Device reset (§2.4): negotiation, queues and interrupts start anew; PCI's own registers and the
// MSI-X table stay.
void virtio_reset(VirtioPciState& state);

}  // namespace dvm::vmm
