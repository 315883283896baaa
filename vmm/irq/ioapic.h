// 82093AA-compatible I/O APIC (Intel 290566, "82093AA I/O Advanced Programmable Interrupt
// Controller", §3) with 24 pins, as a pure model.
#pragma once

#include <array>
#include <type_traits>

#include "vmm/irq/message.h"
#include "vmm/layout.h"

namespace dvm::vmm {

struct IoApicState {
  u32 select = 0;
  u32 id = 0;
  std::array<u64, layout::kIoApicPins> redirection{};  // reset: masked
  std::array<u32, layout::kIoApicPins> asserted{};     // per pin, one bit for each source on it
};
static_assert(std::is_trivially_copyable_v<IoApicState> && sizeof(IoApicState) == 296);

// What a step sends, at most one message a pin.
struct IoApicMessages {
  std::array<InterruptMessage, layout::kIoApicPins> messages{};
  u32 count = 0;
};

IoApicState ioapic_reset_state();
// `offset` within the 4 KiB window. Registers are 32 bits wide; others read as 0.
u32 ioapic_read(const IoApicState& s, u64 offset);
IoApicMessages ioapic_write(IoApicState& s, u64 offset, u32 value);
// Source `source` (0..31) drives `pin` high or low. Pins out of range are ignored.
IoApicMessages ioapic_set_line(IoApicState& s, u8 pin, u8 source, bool high);
// A local APIC ended a level-triggered interrupt: pins still asserted are sent again.
IoApicMessages ioapic_eoi(IoApicState& s, u8 vector);
// Every message that may have been decided on and not have arrived: of the pins that are asserted,
// or wait for an end of interrupt. One that had arrived comes twice, as a spurious interrupt may.
IoApicMessages ioapic_resend(const IoApicState& s);

}  // namespace dvm::vmm
