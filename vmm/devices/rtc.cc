#include "vmm/devices/rtc.h"

#include <algorithm>
#include <chrono>

#include "vmm/devices/ticks.h"

namespace dvm::vmm {

using namespace rtc;

namespace {

constexpr i64 kSecondsPerDay = 86'400;

// --- how registers are written: BCD or binary, 12 or 24 hours ("Time, calendar and alarm") ---

u8 encode(const RtcState& state, unsigned value) {
  return static_cast<u8>((state.reg_b & kBinary) ? value : value / 10 << 4 | value % 10);
}
unsigned decode(const RtcState& state, u8 value) {
  return (state.reg_b & kBinary) ? value : (value >> 4) * 10u + (value & 15u);
}
u8 encode_hour(const RtcState& state, unsigned hour) {
  if (state.reg_b & k24Hours) return encode(state, hour);
  const u8 value = encode(state, hour % 12 == 0 ? 12 : hour % 12);
  return hour >= 12 ? value | kHourPm : value;
}
unsigned decode_hour(const RtcState& state, u8 value) {
  if (state.reg_b & k24Hours) return decode(state, value);
  return decode(state, value & static_cast<u8>(~kHourPm)) % 12 + ((value & kHourPm) ? 12 : 0);
}

constexpr std::array kTimeRegisters = {kSeconds,    kMinutes, kHours, kDayOfWeek,
                                       kDayOfMonth, kMonth,   kYear,  kCentury};
bool is_time_register(u8 reg) {
  return std::find(kTimeRegisters.begin(), kTimeRegisters.end(), reg) != kTimeRegisters.end();
}

u8 time_register(const RtcState& state, u8 reg, i64 time) {
  using namespace std::chrono;
  const sys_seconds when{seconds{time}};
  const sys_days day = floor<days>(when);
  const year_month_day date{day};
  const hh_mm_ss clock{when - day};
  const unsigned year = static_cast<unsigned>(std::max(0, static_cast<int>(date.year())));
  switch (reg) {
    case kSeconds: return encode(state, static_cast<unsigned>(clock.seconds().count()));
    case kMinutes: return encode(state, static_cast<unsigned>(clock.minutes().count()));
    case kHours: return encode_hour(state, static_cast<unsigned>(clock.hours().count()));
    case kDayOfWeek: return encode(state, weekday{day}.c_encoding() + 1);
    case kDayOfMonth: return encode(state, static_cast<unsigned>(date.day()));
    case kMonth: return encode(state, static_cast<unsigned>(date.month()));
    case kYear: return encode(state, year % 100);
    default: return encode(state, year / 100 % 100);
  }
}

void store_time_registers(RtcState& state, i64 time) {
  for (const u8 reg : kTimeRegisters) state.ram[reg] = time_register(state, reg, time);
}

// Whatever the guest wrote, the result is a time between the years 0 and 9999.
i64 load_time_registers(const RtcState& state) {
  using namespace std::chrono;
  const auto field = [&](u8 reg, unsigned low, unsigned high) {
    return std::clamp(decode(state, state.ram[reg]), low, high);
  };
  const year_month month_of_year{
      year{static_cast<int>(field(kCentury, 0, 99) * 100 + field(kYear, 0, 99))},
      month{field(kMonth, 1, 12)}};
  const unsigned last = static_cast<unsigned>((month_of_year / std::chrono::last).day());
  const sys_days date{month_of_year / day{field(kDayOfMonth, 1, last)}};
  const i64 hour = std::min(decode_hour(state, state.ram[kHours]), 23u);
  const i64 minute = field(kMinutes, 0, 59);
  return date.time_since_epoch().count() * kSecondsPerDay + hour * 3600 + minute * 60 +
         field(kSeconds, 0, 59);
}

// --- the clock ---

bool divider_reset(const RtcState& state) { return state.reg_a >> kDividerShift >= kDividerReset; }
bool stands(const RtcState& state) { return (state.reg_b & kSet) || divider_reset(state); }

i64 whole_seconds(u64 ns) { return static_cast<i64>(ns / kNsPerSecond); }

i64 current_second(const RtcState& state, const DeviceEnv& env) {
  return state.base + state.guest_offset + whole_seconds(env.now_ns + state.phase_ns);
}

void set_second(RtcState& state, i64 time, const DeviceEnv& env) {
  state.guest_offset = time - (state.base + whole_seconds(env.now_ns + state.phase_ns));
  state.seen_second = time;
}

void follow_host_clock(RtcState& state, const DeviceEnv& env) {
  const i64 base = env.wall_seconds - whole_seconds(env.now_ns);
  const i64 apart = base - state.base;
  if (!state.base_known || apart > 1 || apart < -1) state.base = base;
  if (!state.base_known) state.seen_second = current_second(state, env);
  state.base_known = true;
}

void start_clock(RtcState& state, bool from_divider_reset, const DeviceEnv& env) {
  if (from_divider_reset) {  // "Divider control": the first update comes half a second later
    const u64 fraction = env.now_ns % kNsPerSecond;
    state.phase_ns = static_cast<u32>((kNsPerSecond + kNsPerSecond / 2 - fraction) % kNsPerSecond);
  }
  set_second(state, load_time_registers(state), env);
}

// --- interrupts ---

// In ticks per second; 0: none ("Periodic interrupt").
u64 periodic_hz(const RtcState& state) {
  const unsigned rate = state.reg_a & kRateMask;
  if (rate == 0 || divider_reset(state)) return 0;
  return 32'768u >> (rate <= 2 ? rate + 6 : rate - 1);
}

// The first second after `after` at which the alarm goes off. It skips whole hours and minutes that
// do not match, so that a day and an hour and a minute of steps are enough.
std::optional<i64> next_alarm(const RtcState& state, i64 after) {
  const auto matches = [](u8 alarm, unsigned wanted, i64 value) {
    return (alarm & kAlarmAny) == kAlarmAny || static_cast<i64>(wanted) == value;
  };
  const u8 hours = state.ram[kHoursAlarm], minutes = state.ram[kMinutesAlarm],
           seconds = state.ram[kSecondsAlarm];
  const unsigned hour = decode_hour(state, hours), minute = decode(state, minutes),
                 second = decode(state, seconds);
  i64 time = after + 1;
  for (int steps = 0; steps < 2 * (24 + 60 + 60); ++steps) {
    const i64 of_day = (time % kSecondsPerDay + kSecondsPerDay) % kSecondsPerDay;
    if (!matches(hours, hour, of_day / 3600)) {
      time += 3600 - of_day % 3600;
    } else if (!matches(minutes, minute, of_day / 60 % 60)) {
      time += 60 - of_day % 60;
    } else if (!matches(seconds, second, of_day % 60)) {
      ++time;
    } else {
      return time;
    }
  }
  return {};
}

// Sets the flags for all that has happened since it was last called ("Register C": flags are set
// whether or not their interrupts are enabled).
void catch_up(RtcState& state, const DeviceEnv& env) {
  follow_host_clock(state, env);
  if (const u64 hz = periodic_hz(state);
      hz != 0 && ticks_at(env.now_ns, hz) > ticks_at(state.seen_ns, hz)) {
    state.reg_c |= kPeriodic;
  }
  state.seen_ns = env.now_ns;
  if (stands(state)) return;
  const i64 second = current_second(state, env);
  if (second == state.seen_second) return;
  const auto alarm = next_alarm(state, state.seen_second);
  if (alarm && *alarm <= second) state.reg_c |= kAlarm;
  state.reg_c |= kUpdateEnded;
  state.seen_second = second;
}

// --- registers ---

u8 read_register_a(const RtcState& state, const DeviceEnv& env) {
  const u64 fraction = (env.now_ns + state.phase_ns) % kNsPerSecond;
  const bool soon = !stands(state) && fraction >= kNsPerSecond - kUpdateNotice;
  return soon ? state.reg_a | kUpdateInProgress : state.reg_a;
}

u8 read_register_c(RtcState& state) {
  const u8 value = rtc_irq(state) ? state.reg_c | kInterruptRequest : state.reg_c;
  state.reg_c = 0;
  return value;
}

// Both A and B can stop the clock and let it go on. While it stands, RAM holds the time.
void write_control(RtcState& state, u8 reg, u8 value, const DeviceEnv& env) {
  const bool stood = stands(state), was_reset = divider_reset(state);
  const i64 second = current_second(state, env);
  if (reg == kRegA) {
    state.reg_a = value & static_cast<u8>(~kUpdateInProgress);
  } else {
    if (value & kSet) value &= static_cast<u8>(~kUpdateEnded);  // "Register B", SET
    state.reg_b = value;
  }
  if (!stood && stands(state)) store_time_registers(state, second);
  if (stood && !stands(state)) start_clock(state, was_reset, env);
}

void write_register(RtcState& state, u8 reg, u8 value, const DeviceEnv& env) {
  if (reg == kRegA || reg == kRegB) return write_control(state, reg, value, env);
  if (reg == kRegC || reg == kRegD) return;
  const bool sets_running_clock = is_time_register(reg) && !stands(state);
  if (sets_running_clock) store_time_registers(state, current_second(state, env));
  state.ram[reg] = value;
  if (sets_running_clock) set_second(state, load_time_registers(state), env);
}

u64 second_to_ns(const RtcState& state, i64 second) {
  const i64 since_start = std::max<i64>(second - state.base - state.guest_offset, 1);
  return static_cast<u64>(since_start) * kNsPerSecond - state.phase_ns;
}

void store_le(RtcState& state, u8 at, unsigned bytes, u64 value) {
  value = std::min(value, (u64{1} << (8 * bytes)) - 1);
  for (unsigned i = 0; i < bytes; ++i) state.ram[at + i] = static_cast<u8>(value >> (8 * i));
}

}  // namespace

u8 rtc_read(RtcState& state, u16 offset, const DeviceEnv& env) {
  if (offset % 2 == 0) return 0xff;
  catch_up(state, env);
  const u8 reg = state.index % 128;
  switch (reg) {
    case kRegA: return read_register_a(state, env);
    case kRegB: return state.reg_b;
    case kRegC: return read_register_c(state);
    case kRegD: return kValidRamAndTime;
    default: break;
  }
  if (!is_time_register(reg) || stands(state)) return state.ram[reg];
  return time_register(state, reg, current_second(state, env));
}

void rtc_write(RtcState& state, u16 offset, u8 value, const DeviceEnv& env) {
  if (offset % 2 == 0) {
    state.index = value;
    return;
  }
  catch_up(state, env);
  write_register(state, state.index % 128, value, env);
}

// No wake-up for an interrupt that is off, or still waits to be seen.
std::optional<u64> rtc_next_deadline(const RtcState& state, const DeviceEnv& /*env*/) {
  const u8 wanted = state.reg_b & static_cast<u8>(~state.reg_c) & kInterrupts;
  std::optional<u64> next;
  const auto consider = [&](u64 ns) { next = std::min(next.value_or(ns), ns); };
  if (const u64 hz = periodic_hz(state); (wanted & kPeriodic) && hz != 0) {
    consider(ns_of_tick(ticks_at(state.seen_ns, hz) + 1, hz));
  }
  if (stands(state)) return next;
  if (wanted & kUpdateEnded) consider(second_to_ns(state, state.seen_second + 1));
  if (wanted & kAlarm) {
    if (const auto alarm = next_alarm(state, state.seen_second)) {
      consider(second_to_ns(state, *alarm));
    }
  }
  return next;
}

void rtc_on_timer(RtcState& state, const DeviceEnv& env) { catch_up(state, env); }

bool rtc_irq(const RtcState& state) { return (state.reg_b & state.reg_c & kInterrupts) != 0; }

void rtc_reset(RtcState& state) {
  state.reg_b &= static_cast<u8>(~(kInterrupts | kSquareWave));
  state.reg_c = 0;
}

void rtc_set_boot(RtcState& state, u32 vcpus) {
  state.ram[kBootFlag1] = 0;
  state.ram[kBootFlag2] = 2;
  state.ram[kStartedCpus] = static_cast<u8>(vcpus - 1);
}

void rtc_set_memory_size(RtcState& state, u64 bytes_below_4g, u64 bytes_above_4g) {
  const auto above = [&](u64 start) { return bytes_below_4g > start ? bytes_below_4g - start : 0; };
  store_le(state, kBaseMemory, 2, std::min<u64>(bytes_below_4g / kKiB, 640));
  store_le(state, kExtendedMemory, 2, above(kMiB) / kKiB);
  store_le(state, kExtendedMemory2, 2, above(kMiB) / kKiB);
  store_le(state, kMemoryAbove16M, 2, above(16 * kMiB) / (64 * kKiB));
  store_le(state, kMemoryAbove4G, 3, bytes_above_4g / (64 * kKiB));
}

}  // namespace dvm::vmm
