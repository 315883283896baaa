#include "vmm/devices/watchdog.h"

#include <algorithm>

namespace dvm::vmm {
namespace {

using namespace watchdog;

constexpr u64 kPeriodNs = u64{kPeriodMs} * 1'000'000;

void ping(WatchdogState& state, const DeviceEnv& env) {
  state.deadline_ns = env.now_ns + state.count * kPeriodNs;
}

u32 periods_left(const WatchdogState& state, const DeviceEnv& env) {
  if (state.running == 0) return state.count;
  if (state.deadline_ns <= env.now_ns) return 0;
  const u64 left = (state.deadline_ns - env.now_ns + kPeriodNs - 1) / kPeriodNs;
  return static_cast<u32>(std::min<u64>(left, kMaxCount));
}

}  // namespace

// Each register is read and written by its own size (wdat.cc says so); anything else is as if
// nothing were there.
u32 watchdog_read(const WatchdogState& state, u16 offset, u8 size, const DeviceEnv& env) {
  if (offset == kCount && size == 2) return state.count;
  if (offset == kLeft && size == 2) return periods_left(state, env);
  if (offset == kRun && size == 1) return state.running;
  if (offset == kStatus && size == 1) return state.fired;
  return size >= 4 ? ~u32{0} : (u32{1} << (8 * size)) - 1;
}

void watchdog_write(WatchdogState& state, u16 offset, u8 size, u32 value, const DeviceEnv& env) {
  if (offset == kCount && size == 2) {
    state.count = static_cast<u16>(std::clamp<u32>(value & 0xffff, kMinCount, kMaxCount));
    ping(state, env);
  } else if (offset == kPing && size == 1) {
    ping(state, env);
  } else if (offset == kRun && size == 1) {
    state.running = value & 1;
    ping(state, env);
  } else if (offset == kStatus && size == 1 && (value & 1) != 0) {
    state.fired = 0;
  }
}

std::optional<u64> watchdog_next_deadline(const WatchdogState& state) {
  if (state.running == 0) return std::nullopt;
  return state.deadline_ns;
}

bool watchdog_expired(const WatchdogState& state, const DeviceEnv& env) {
  return state.running != 0 && env.now_ns >= state.deadline_ns;
}

void watchdog_reset(WatchdogState& state, const DeviceEnv& env) {
  const bool fired = watchdog_expired(state, env);
  state = {};
  state.fired = fired ? 1 : 0;
}

}  // namespace dvm::vmm
