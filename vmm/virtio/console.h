// The console device (virtio 1.2 §5.3) with one port: what the guest writes to hvc0 and what is
// typed there. Pure, but for guest memory; the bytes' places in the pool are the machine's
// business.
#pragma once

#include <functional>
#include <span>

#include "hyperkernel/guest_memory.h"
#include "vmm/effects.h"
#include "vmm/virtio/pci_transport.h"

namespace dvm::vmm {

// §5.3.2: the queues of port 0.
inline constexpr u16 kConsoleReceiveQueue = 0;
inline constexpr u16 kConsoleTransmitQueue = 1;
inline constexpr u16 kConsoleQueueSize = 64;

namespace virtio {
inline constexpr u64 kConsoleFeatureSize = u64{1} << 0;  // §5.3.3

// virtio_console_config (§5.3.4), up to what the feature above uses.
struct ConsoleConfig {
  u16 columns;
  u16 rows;
};
static_assert(sizeof(ConsoleConfig) == 4);
}  // namespace virtio

// Of the terminal, in characters.
struct ConsoleSize {
  u16 columns = 80;
  u16 rows = 24;
  constexpr u64 packed() const { return u64{columns} << 16 | rows; }
  static constexpr ConsoleSize unpack(u64 word) {
    return {static_cast<u16>(word >> 16), static_cast<u16>(word)};
  }
  friend constexpr bool operator==(ConsoleSize, ConsoleSize) = default;
};

VirtioPciState make_virtio_console(ConsoleSize size);
// The terminal has another size: the driver is told (§5.3.5).
void console_set_size(VirtioPciState& state, ConsoleSize size, Effects& effects);

// `put(at, bytes)` keeps bytes whose first is number `at` of all that the queue has ever moved. A
// step done again after a death puts the same bytes to the same numbers.
using ConsolePut = std::function<void(u64 at, std::span<const std::byte> bytes)>;

// Step 1 of serving the transmit queue (device.h): takes up to `room` bytes. What is left of a
// chain waits in the queue, its place in QueueState::part. True: bytes wait for room. An error: the
// driver broke a rule.
Result<bool> console_transmit(QueueState& queue, const hyperkernel::GuestMemory& memory, u64 room,
                              const ConsolePut& put);

// Step 1 of serving the receive queue: types what there are buffers for and takes it off `from`.
Status console_receive(QueueState& queue, const hyperkernel::GuestMemory& memory,
                       std::span<const char>& from);

}  // namespace dvm::vmm
