// The failure detector's judgement, apart from clocks, processes and the pool: observations in,
// verdicts out. fabric/manager.h is what feeds it and carries its verdicts out.
//
//   active -> suspect -> fenced -> (announced, salvaged, dead: failure_record.h)
//
// A member whose thread the kernel says is dead, or that has not beaten for its deadline, or whose
// whole host has not, is a suspect and is powered off: a slow member is a dead one. It is fenced
// once all its threads have stopped and its I/O is drained. There is no way back from suspect.
#pragma once

#include <array>
#include <vector>

#include "fabric/instance.h"

namespace dvm::fabric {

enum class FailureCause : u8 { none, died, silent, host_silent };

struct DetectorConfig {
  u64 deadline_ns = 2'000'000'000;     // of silence; 0: silence is never held against anyone
  u64 fence_bound_ns = 1'000'000'000;  // after that long in suspect, `overdue`
  u32 own_host = 0;                    // the watcher's: it runs, so its host is not silent
  // How often the watcher should look, and members beat.
  constexpr u64 tick_ns() const { return deadline_ns == 0 ? 125'000'000 : deadline_ns / 4; }
};

struct DetectorMember {
  InstanceId instance;
  InstanceState state = InstanceState::none;  // none, active, suspect, fenced
  FailureCause cause = FailureCause::none;
  u32 host = 0;
  u64 beats = 0;         // last seen
  u64 allowance_ns = 0;  // a longer deadline it asked for
  u64 silence_ns = 0;    // of watched time since the last beat
  u64 suspect_ns = 0;    // watched time as a suspect
  bool stopped = false;
  bool drained = false;
  bool overdue = false;
};

struct Observation {
  enum class Kind : u32 {
    joined,     // who, host, value: beats
    left,       // who: forget it
    suspected,  // who, cause: an earlier watcher's suspect
    beat,       // who, value: beats, allowance_ns
    life_lost,  // who: the kernel says that a thread of it died
    stopped,    // who: none of its threads runs
    drained,    // who: no I/O of it is in flight
    tick,       // value: CLOCK_MONOTONIC, ns
  };
  Kind kind;
  InstanceId who;
  u64 value = 0;
  u64 allowance_ns = 0;
  u32 host = 0;
  FailureCause cause = FailureCause::none;
};

struct Verdict {
  enum class Kind : u32 {
    power_off,       // who is a suspect: stop it
    power_off_host,  // every member of `host` is silent: stop it as a whole
    fenced,          // who is stopped and drained: retire and announce it
    overdue,         // who should have been fenced by now (told once)
  };
  Kind kind;
  InstanceId who;
  u32 host = 0;
  FailureCause cause = FailureCause::none;
};

// Plain data: a new watcher starts from an empty one, joined and suspected members fed to it.
struct DetectorState {
  DetectorConfig config;
  u64 last_tick_ns = 0;
  std::array<DetectorMember, kMaxInstances> members;
};

// Deterministic; reads no clock. An observation of an instance that is not (or no longer) known is
// ignored, so late and doubled ones do no harm.
//
// A tick adds to every silence what the watcher has seen go by: the time since the last tick, but
// at most one and a half tick periods. A watcher that was not scheduled itself therefore judges
// nobody by the time it slept.
std::vector<Verdict> step(DetectorState& state, const Observation& seen);

}  // namespace dvm::fabric
