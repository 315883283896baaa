#include "vmm/devices/pit.h"

#include <utility>

#include "vmm/devices/ticks.h"

namespace dvm::vmm {

using namespace pit;

namespace {

constexpr u32 kBcdModulus = 10'000;

constexpr u32 from_bcd(u16 bcd) {
  return (bcd >> 12) * 1000u + (bcd >> 8 & 15) * 100u + (bcd >> 4 & 15) * 10u + (bcd & 15);
}
constexpr u16 to_bcd(u64 value) {
  return static_cast<u16>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                          value % 10);
}

u64 tick_now(const DeviceEnv& env) { return ticks_at(env.now_ns, kHz); }

// Modes 1 and 5 wait for a rising gate, and then do not look at it any more.
bool is_triggered_by_gate(const PitChannel& channel) {
  return channel.mode == 1 || channel.mode == 5;
}
bool is_periodic(const PitChannel& channel) { return channel.mode == 2 || channel.mode == 3; }

u64 elapsed(const PitChannel& channel, u64 tick) {
  if (!channel.counting) return channel.held;
  return tick > channel.start ? tick - channel.start : 0;
}

void start_counting(PitChannel& channel, u64 start) {
  channel.start = start;
  channel.held = 0;
  channel.counting = true;
}

// Mode 3 counts down by two, twice per period; an odd count stays one tick longer in the high half.
u64 square_wave_value(u64 count, u64 phase) {
  const u64 high = (count + 1) / 2;
  return (count & ~1ull) - 2 * (phase < high ? phase : phase - high);
}

// What the counter shows, as the guest reads it.
u16 counter_value(const PitChannel& channel, u64 tick) {
  if (channel.count == 0) return 0;
  const u64 count = channel.count, ticks = elapsed(channel, tick);
  u64 value;
  if (channel.mode == 2) {
    value = count - ticks % count;
  } else if (channel.mode == 3) {
    value = square_wave_value(count, ticks % count);
  } else {  // the others count on past zero
    const u64 modulus = channel.bcd ? kBcdModulus : 0x10000;
    value = count + modulus - ticks % modulus;
  }
  return channel.bcd ? to_bcd(value % kBcdModulus) : static_cast<u16>(value);
}

// "Mode Definitions": the level of OUT.
bool output(const PitChannel& channel, u64 tick) {
  const u64 count = channel.count, ticks = elapsed(channel, tick);
  if (channel.mode == 0) return count != 0 && ticks >= count;
  if (count == 0 || !channel.counting) return true;
  switch (channel.mode) {
    case 1: return ticks >= count;
    case 2: return ticks % count != count - 1;
    case 3: return ticks % count < (count + 1) / 2;
    default: return ticks != count;  // 4, 5: a strobe of one tick
  }
}

// How often OUT has risen since the count was loaded.
u64 rising_edges(const PitChannel& channel, u64 tick) {
  if (channel.count == 0 || is_triggered_by_gate(channel)) return 0;
  const u64 count = channel.count, ticks = elapsed(channel, tick);
  if (is_periodic(channel)) return ticks / count;
  return ticks >= (channel.mode == 0 ? count : count + 1) ? 1 : 0;
}

void unload(PitChannel& channel) {
  channel.count = 0;
  channel.held = 0;
  channel.edges_taken = 0;
  channel.counting = false;
}

void load_count(PitChannel& channel, u16 raw, u64 tick) {
  unload(channel);
  const u32 value = channel.bcd ? from_bcd(raw) : raw;
  channel.count = value != 0 ? value : channel.bcd ? kBcdModulus : 0x10000;
  channel.null_count = false;
  // The count reaches the counter with the next tick.
  if (channel.gate && !is_triggered_by_gate(channel)) start_counting(channel, tick + 1);
}

void write_count(PitChannel& channel, u8 value, u64 tick) {
  channel.null_count = true;
  switch (channel.access) {
    case Access::low: load_count(channel, value, tick); return;
    case Access::high: load_count(channel, static_cast<u16>(value << 8), tick); return;
    case Access::latch:
    case Access::low_then_high: break;
  }
  if (channel.write_high) {
    load_count(channel, static_cast<u16>(value << 8 | channel.write_low), tick);
  } else {
    channel.write_low = value;
    if (channel.mode == 0) unload(channel);  // the first byte stops it and takes OUT low
  }
  channel.write_high = !channel.write_high;
}

void latch_count(PitChannel& channel, u64 tick) {
  if (channel.latched_bytes != 0) return;  // the first latch holds until it has been read
  channel.latched_count = counter_value(channel, tick);
  channel.latched_bytes = channel.access == Access::low_then_high ? 2 : 1;
}

void latch_status(PitChannel& channel, u64 tick) {
  if (channel.status_latched) return;
  channel.latched_status = static_cast<u8>(
      (output(channel, tick) ? kStatusOutput : 0) | (channel.null_count ? kStatusNullCount : 0) |
      static_cast<u8>(channel.access) << kControlAccessShift | channel.mode << kControlModeShift |
      (channel.bcd ? kControlBcd : 0));
  channel.status_latched = true;
}

u8 read_count(PitChannel& channel, u64 tick) {
  bool high = channel.access == Access::high;
  if (channel.latched_bytes != 0) {
    if (channel.access == Access::low_then_high) high = channel.latched_bytes == 1;
    --channel.latched_bytes;
    return static_cast<u8>(high ? channel.latched_count >> 8 : channel.latched_count);
  }
  if (channel.access == Access::low_then_high) {
    high = channel.read_high;
    channel.read_high = !channel.read_high;
  }
  const u16 value = counter_value(channel, tick);
  return static_cast<u8>(high ? value >> 8 : value);
}

void program(PitChannel& channel, u8 control) {
  const u8 mode = control >> kControlModeShift & 7;
  channel = PitChannel{
      .access = static_cast<Access>(control >> kControlAccessShift & 3),
      .mode = static_cast<u8>(mode > 5 ? mode - 4 : mode),  // 6 and 7 are 2 and 3
      .bcd = (control & kControlBcd) != 0,
      .gate = channel.gate,
  };
}

void read_back(PitState& state, u8 command, u64 tick) {
  for (unsigned i = 0; i < state.channels.size(); ++i) {
    if ((command & (2u << i)) == 0) continue;
    if ((command & kReadBackNoCount) == 0) latch_count(state.channels[i], tick);
    if ((command & kReadBackNoStatus) == 0) latch_status(state.channels[i], tick);
  }
}

void write_control(PitState& state, u8 value, u64 tick) {
  const unsigned index = value >> kControlChannelShift;
  if (index == kControlReadBack) return read_back(state, value, tick);
  PitChannel& channel = state.channels[index];
  if (static_cast<Access>(value >> kControlAccessShift & 3) == Access::latch) {
    latch_count(channel, tick);
  } else {
    program(channel, value);
  }
}

void set_gate(PitChannel& channel, bool gate, u64 tick) {
  if (gate == channel.gate) return;
  channel.gate = gate;
  if (channel.count == 0) return;
  const bool pausable = channel.mode == 0 || channel.mode == 4;
  if (gate) {
    start_counting(channel, pausable ? tick - channel.held : tick + 1);
  } else if (!is_triggered_by_gate(channel)) {
    channel.held = pausable ? elapsed(channel, tick) : 0;
    channel.counting = false;
  }
}

// An edge that came before the channel is touched has come, whatever is written now.
void keep_edge(PitState& state, u64 tick) {
  PitChannel& channel = state.channels[0];
  const u64 edges = rising_edges(channel, tick);
  if (edges > channel.edges_taken) state.irq_pending = true;
  channel.edges_taken = edges;
}

}  // namespace

u8 pit_read(PitState& state, u16 offset, const DeviceEnv& env) {
  const u16 index = offset % 4;
  if (index == kControlOffset) return 0xff;
  PitChannel& channel = state.channels[index];
  if (channel.status_latched) {
    channel.status_latched = false;
    return channel.latched_status;
  }
  return read_count(channel, tick_now(env));
}

void pit_write(PitState& state, u16 offset, u8 value, const DeviceEnv& env) {
  const u64 tick = tick_now(env);
  const u16 index = offset % 4;
  keep_edge(state, tick);
  if (index == kControlOffset) {
    write_control(state, value, tick);
  } else {
    write_count(state.channels[index], value, tick);
  }
}

u8 portb_read(const PitState& state, const DeviceEnv& env) {
  u8 value = state.port_b;
  if (env.now_ns / kRefreshNs % 2 != 0) value |= kPortBRefresh;
  if (output(state.channels[2], tick_now(env))) value |= kPortBOutput2;
  return value;
}

void portb_write(PitState& state, u8 value, const DeviceEnv& env) {
  state.port_b = value & kPortBWritable;
  set_gate(state.channels[2], (value & kPortBGate2) != 0, tick_now(env));
}

std::optional<u64> pit_next_deadline(const PitState& state, const DeviceEnv& env) {
  if (state.irq_pending) return env.now_ns;
  const PitChannel& channel = state.channels[0];
  if (channel.count == 0 || !channel.counting || is_triggered_by_gate(channel)) return {};
  if (is_periodic(channel)) {
    return ns_of_tick(channel.start + (channel.edges_taken + 1) * channel.count, kHz);
  }
  if (channel.edges_taken != 0) return {};
  return ns_of_tick(channel.start + channel.count + (channel.mode == 0 ? 0 : 1), kHz);
}

bool pit_take_irq(PitState& state, const DeviceEnv& env) {
  keep_edge(state, tick_now(env));
  return std::exchange(state.irq_pending, false);
}

}  // namespace dvm::vmm
