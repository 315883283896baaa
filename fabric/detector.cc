#include "fabric/detector.h"

#include <algorithm>

namespace dvm::fabric {
namespace {

using Kind = Observation::Kind;

DetectorMember* find(DetectorState& state, InstanceId who) {
  if (!who.valid() || who.id >= kMaxInstances) return nullptr;
  DetectorMember& m = state.members[who.id];
  return m.instance == who && m.state != InstanceState::none ? &m : nullptr;
}

void suspect(DetectorMember& m, FailureCause cause, std::vector<Verdict>& out) {
  if (m.state != InstanceState::active) return;
  m.state = InstanceState::suspect;
  m.cause = cause;
  out.push_back({Verdict::Kind::power_off, m.instance, m.host, cause});
}

void fence_if_done(DetectorMember& m, std::vector<Verdict>& out) {
  if (m.state != InstanceState::suspect || !m.stopped || !m.drained) return;
  m.state = InstanceState::fenced;
  out.push_back({Verdict::Kind::fenced, m.instance, m.host, m.cause});
}

bool silent(const DetectorState& state, const DetectorMember& m) {
  const u64 deadline = state.config.deadline_ns;
  return deadline != 0 && m.silence_ns > std::max(deadline, m.allowance_ns);
}

// A host is silent when one of its members is, and none still beats.
bool host_is_silent(const DetectorState& state, u32 host) {
  if (host == state.config.own_host) return false;
  for (const DetectorMember& m : state.members) {
    if (m.host == host && m.state == InstanceState::active && !silent(state, m)) return false;
  }
  return true;
}

void judge_silence(DetectorState& state, std::vector<Verdict>& out) {
  for (DetectorMember& m : state.members) {
    if (m.state != InstanceState::active || !silent(state, m)) continue;
    if (!host_is_silent(state, m.host)) {
      suspect(m, FailureCause::silent, out);
      continue;
    }
    out.push_back({Verdict::Kind::power_off_host, m.instance, m.host, FailureCause::host_silent});
    for (DetectorMember& other : state.members) {
      if (other.host == m.host) suspect(other, FailureCause::host_silent, out);
    }
  }
}

void tick(DetectorState& state, u64 now, std::vector<Verdict>& out) {
  const u64 period = state.config.tick_ns();
  const u64 gap =
      state.last_tick_ns == 0 || now < state.last_tick_ns ? 0 : now - state.last_tick_ns;
  const u64 watched = std::min(gap, period + period / 2);
  state.last_tick_ns = now;
  for (DetectorMember& m : state.members) {
    if (m.state == InstanceState::active) m.silence_ns += watched;
    if (m.state != InstanceState::suspect) continue;
    m.suspect_ns += watched;
    if (m.suspect_ns < state.config.fence_bound_ns || m.overdue) continue;
    m.overdue = true;
    out.push_back({Verdict::Kind::overdue, m.instance, m.host, m.cause});
  }
  judge_silence(state, out);
}

void joined(DetectorState& state, const Observation& seen) {
  if (!seen.who.valid() || seen.who.id >= kMaxInstances) return;
  DetectorMember& m = state.members[seen.who.id];
  if (m.state != InstanceState::none) return;  // once; a predecessor has to be forgotten first
  m = {};
  m.instance = seen.who;
  m.state = InstanceState::active;
  m.host = seen.host;
  m.beats = seen.value;
}

void beat(DetectorMember& m, const Observation& seen) {
  m.allowance_ns = seen.allowance_ns;
  if (m.beats == seen.value) return;
  m.beats = seen.value;
  m.silence_ns = 0;
}

}  // namespace

std::vector<Verdict> step(DetectorState& state, const Observation& seen) {
  std::vector<Verdict> out;
  if (seen.kind == Kind::tick) {
    tick(state, seen.value, out);
    return out;
  }
  if (seen.kind == Kind::joined) {
    joined(state, seen);
    return out;
  }
  DetectorMember* m = find(state, seen.who);
  if (m == nullptr) return out;
  switch (seen.kind) {
    case Kind::joined:
    case Kind::tick: break;
    case Kind::left: *m = {}; break;
    case Kind::suspected: suspect(*m, seen.cause, out); break;
    case Kind::beat: beat(*m, seen); break;
    case Kind::life_lost: suspect(*m, FailureCause::died, out); break;
    case Kind::stopped: m->stopped = m->state != InstanceState::active; break;
    case Kind::drained: m->drained = m->state != InstanceState::active; break;
  }
  fence_if_done(*m, out);
  return out;
}

}  // namespace dvm::fabric
