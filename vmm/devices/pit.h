// The 8254 interval timer and port 0x61, through which a PC gates its channel 2.
// "8254 Programmable Interval Timer", Intel order number 231164-005.
#pragma once

#include <array>
#include <optional>
#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace pit {

inline constexpr u64 kHz = 1'193'182;

// Control word ("Control Word Format").
inline constexpr u16 kControlOffset = 3;
inline constexpr u8 kControlChannelShift = 6;
inline constexpr u8 kControlReadBack = 3;  // in place of a channel
inline constexpr u8 kControlAccessShift = 4;
inline constexpr u8 kControlModeShift = 1;
inline constexpr u8 kControlBcd = 0x01;

enum class Access : u8 { latch = 0, low = 1, high = 2, low_then_high = 3 };

// Read-back command: these two are active low; bits 1-3 choose the channels.
inline constexpr u8 kReadBackNoCount = 0x20;
inline constexpr u8 kReadBackNoStatus = 0x10;

// Status byte; its lower six bits are those of the control word.
inline constexpr u8 kStatusOutput = 0x80;
inline constexpr u8 kStatusNullCount = 0x40;

// Port 0x61 (Intel ICH9 datasheet, NMI_SC).
inline constexpr u8 kPortBGate2 = 0x01;
inline constexpr u8 kPortBWritable = 0x0f;
inline constexpr u8 kPortBRefresh = 0x10;  // toggles with each DRAM refresh
inline constexpr u8 kPortBOutput2 = 0x20;
inline constexpr u64 kRefreshNs = 15'085;

}  // namespace pit

// Nothing here ticks: a counter is the tick at which it started, and what it shows now is computed.
struct PitChannel {
  u64 start = 0;        // counting: the tick at which `count` was in the counter
  u64 held = 0;         // not counting: ticks counted before the gate stopped it
  u64 edges_taken = 0;  // rising edges of OUT since `start` already handed out
  u32 count = 0;        // 1 .. 65536; 0: none loaded
  u16 latched_count = 0;
  u8 latched_bytes = 0;  // of latched_count, still to be read
  u8 latched_status = 0;
  bool status_latched = false;
  pit::Access access = pit::Access::low_then_high;
  u8 mode = 0;  // 0 .. 5
  bool bcd = false;
  bool gate = true;
  bool counting = false;
  bool null_count = true;  // the count written last is not in the counter yet
  bool read_high = false;  // the high byte's turn
  bool write_high = false;
  u8 write_low = 0;  // the low byte, until the high one comes
  std::array<u8, 6> reserved{};
};
static_assert(sizeof(PitChannel) == 48);

// Member initialisers are the power-on state: nothing counts until a guest programs it.
struct PitState {
  std::array<PitChannel, 3> channels{PitChannel{}, PitChannel{}, PitChannel{.gate = false}};
  u8 port_b = 0;
  bool irq_pending = false;  // channel 0 rose before it was programmed anew
  std::array<u8, 6> reserved{};
};
static_assert(sizeof(PitState) == 152);
static_assert(std::is_trivially_copyable_v<PitState>);

// Offsets 0-2 are the channels, 3 the control word, which reads as an undriven bus; bits beyond are
// ignored. One simplification: a count written in mode 2 or 3 starts a new period at once.
u8 pit_read(PitState& state, u16 offset, const DeviceEnv& env);
void pit_write(PitState& state, u16 offset, u8 value, const DeviceEnv& env);

u8 portb_read(const PitState& state, const DeviceEnv& env);
void portb_write(PitState& state, u8 value, const DeviceEnv& env);

// The guest time of channel 0's next rising edge, which may be past; nothing if there will be none.
// The interrupt controller keeps no edge for a masked pin, so a machine need not wake for it then.
std::optional<u64> pit_next_deadline(const PitState& state, const DeviceEnv& env);
// True if channel 0's output has risen since it was last asked: one edge for the machine to raise,
// however many were missed.
bool pit_take_irq(PitState& state, const DeviceEnv& env);

}  // namespace dvm::vmm
