// The entropy device (virtio 1.2 §5.4): fills the driver's buffers with random bytes.
#pragma once

#include <functional>
#include <span>

#include "hyperkernel/guest_memory.h"
#include "vmm/effects.h"
#include "vmm/virtio/pci_transport.h"

namespace dvm::vmm {

inline constexpr u16 kRngQueue = 0;
// Work per notification is bounded by these two; a longer buffer is filled in part, as it may be.
inline constexpr u16 kRngQueueSize = 8;
inline constexpr u32 kRngMaxChainBytes = 64 * kKiB;

// Fills the whole span.
using RandomSource = std::function<void(std::span<std::byte>)>;
void system_random(std::span<std::byte> to);  // getrandom(2)

VirtioPciState make_virtio_rng();

// Step 1 of serving the queue (device.h). Done again after a death it fills the same buffers with
// other random bytes, before anyone has seen them. An error: the driver broke a rule.
Status rng_process(QueueState& queue, const hyperkernel::GuestMemory& memory,
                   const RandomSource& random);

}  // namespace dvm::vmm
