#include "fabric/failure_watch.h"

#include <algorithm>

#include "fabric/announcement.h"
#include "fabric/failpoint.h"

namespace dvm::fabric {
namespace {

using Kind = Observation::Kind;
constexpr u64 kRetryNs = 200'000;

bool any_thread_died(const PeerRecord& record) {
  return std::any_of(record.life.begin(), record.life.end(),
                     [](const LifeWord& w) { return life_stopped(w.value.load()); });
}

// The words to wait for, as many as the kernel takes; `all` tells whether they are all there.
struct WaitList {
  std::array<WordWait, kMaxWordWaits> words;
  std::size_t count = 0;
  bool all = true;
  bool news = false;  // a word shows a death already

  void add(const std::atomic<u32>& word, u32 seen) {
    if (count == words.size()) {
      all = false;
    } else {
      words[count++] = {&word, seen};
    }
  }
  void add_life(const LifeWord& life, bool wait_for_stop) {
    const u32 value = life.value.load(std::memory_order_acquire);
    if (life_running(value)) return add(life.value, value);
    if (!wait_for_stop) news = news || life_stopped(value);
  }
};

}  // namespace

DetectorConfig detector_config(const FabricState& fabric, u32 own_host) {
  DetectorConfig config;
  config.own_host = own_host;
  const u32 ms = fabric.deadline_ms.load(std::memory_order_relaxed);
  if (ms == ~0u) {
    config.deadline_ns = 0;
  } else if (ms != 0) {
    config.deadline_ns = ms * u64{1'000'000};
  }
  return config;
}

FailureWatch::FailureWatch(FabricState& fabric, InstanceTable& instances, const Peer& peer,
                           const ManagerHooks& hooks)
    : fabric_(fabric),
      instances_(instances),
      peer_(peer),
      hooks_(hooks),
      power_(fabric, peer.host(), hooks.power_off_host) {
  state_.config = detector_config(fabric, peer.host());
}

void FailureWatch::look() {
  pending_ = false;
  fabric_.role.beats.fetch_add(1, std::memory_order_release);
  peers_seen_ = listen(fabric_.peers.changed);
  take_in_peers();
  take_in_lives();
  const u64 now = monotonic_ns();
  if (now >= next_tick_ns_) tick(now);
  announce_fenced();
}

void FailureWatch::take_in_peers() {
  for (u32 id = 0; id < kMaxInstances; ++id) {
    if (id == peer_.self().id) continue;
    const u64 there = fabric_.peers.records[id].instance.load(std::memory_order_acquire);
    const DetectorMember& known = state_.members[id];
    if (known.state == InstanceState::active && known.instance.packed() != there) {
      observe({.kind = Kind::left, .who = known.instance});
      power_.forget(id);
    }
    const InstanceId who = InstanceId::unpack(there);
    if (who.valid() && who.id == id && known.state == InstanceState::none) take_in(who);
  }
  // A suspect of an earlier manager that has left its record meanwhile.
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const FailureWord failure = fabric::look(fabric_.failures[id]);
    if (failure.stage == FailureStage::suspect && state_.members[id].state == InstanceState::none)
      take_in({id, failure.generation});
  }
}

void FailureWatch::take_in(InstanceId who) {
  const PeerRecord& record = fabric_.peers.records[who.id];
  const FailureWord failure = fabric::look(fabric_.failures[who.id]);
  const bool failed = failure.generation == who.generation;
  if (failed && failure.stage != FailureStage::suspect) return;  // fenced at least
  observe(
      {.kind = Kind::joined, .who = who, .value = record.beats.load(), .host = record.host.load()});
  power_.learn(who);
  if (failed) observe({.kind = Kind::suspected, .who = who, .cause = failure.cause});
}

void FailureWatch::take_in_lives() {
  for (const DetectorMember& m : state_.members) {
    if (m.state == InstanceState::active) {
      const PeerRecord& record = fabric_.peers.records[m.instance.id];
      if (m.host == peer_.host() &&
          life_stopped(record.life[0].value.load(std::memory_order_acquire)))
        observe({.kind = Kind::life_lost, .who = m.instance});
    }
    if (m.state == InstanceState::suspect) take_in_suspect(m.instance);
  }
}

void FailureWatch::take_in_suspect(InstanceId who) {
  const DetectorMember& m = state_.members[who.id];
  if (!m.stopped && power_.stopped(who)) observe({.kind = Kind::stopped, .who = who});
  if (m.state == InstanceState::suspect && m.stopped && (!hooks_.drained || hooks_.drained(who)))
    observe({.kind = Kind::drained, .who = who});
  pending_ =
      pending_ || (m.state == InstanceState::suspect && (m.stopped || m.host != peer_.host()));
}

void FailureWatch::tick(u64 now) {
  state_.config = detector_config(fabric_, peer_.host());
  next_tick_ns_ = now + state_.config.tick_ns();
  for (const DetectorMember& m : state_.members) {
    if (m.state != InstanceState::active) continue;
    const PeerRecord& record = fabric_.peers.records[m.instance.id];
    observe({.kind = Kind::beat,
             .who = m.instance,
             .value = record.beats.load(std::memory_order_acquire),
             .allowance_ns = record.allowance_ms.load() * u64{1'000'000}});
    const bool here = record.instance.load() == m.instance.packed();
    if (here && m.host == peer_.host() && any_thread_died(record))
      observe({.kind = Kind::life_lost, .who = m.instance});
  }
  observe({.kind = Kind::tick, .value = now});
  take_in_lives();  // of those that fell silent: what is stopped already is fenced at once
}

void FailureWatch::observe(const Observation& seen) {
  for (const Verdict& verdict : step(state_, seen)) carry_out(verdict);
}

void FailureWatch::carry_out(const Verdict& verdict) {
  const InstanceId who = verdict.who;
  switch (verdict.kind) {
    case Verdict::Kind::power_off:
      failpoint("manager.suspects");
      begin_failure(fabric_.failures, instances_, who, verdict.cause);
      failpoint("manager.suspected");
      power_.off(who);
      failpoint("manager.powered_off");
      return;
    case Verdict::Kind::power_off_host:
      if (hooks_.power_off_host) hooks_.power_off_host(verdict.host);
      return;
    case Verdict::Kind::fenced:
      advance(fabric_.failures, who, FailureStage::suspect, FailureStage::fenced);
      failpoint("manager.fenced");
      return;
    case Verdict::Kind::overdue:
      if (hooks_.overdue) hooks_.overdue(who, verdict.cause);
      return;
  }
}

void FailureWatch::announce_fenced() {
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const FailureWord failure = fabric::look(fabric_.failures[id]);
    if (failure.stage != FailureStage::fenced) continue;
    const InstanceId who{id, failure.generation};
    if (!announce_failure(fabric_, instances_, who, peer_.self())) {
      pending_ = true;
      continue;
    }
    observe({.kind = Kind::left, .who = who});
    power_.forget(id);
  }
}

void FailureWatch::wait(const WordWait& extra) {
  WaitList list;
  list.add(extra.word[0], extra.seen);
  list.add(fabric_.peers.changed.rings, peers_seen_);
  for (const DetectorMember& m : state_.members) {
    if (m.host != peer_.host()) continue;
    const PeerRecord& record = fabric_.peers.records[m.instance.id];
    if (m.state == InstanceState::active) list.add_life(record.life[0], false);
    if (m.state != InstanceState::suspect || m.stopped) continue;
    for (const LifeWord& life : record.life) list.add_life(life, true);
  }
  if (list.news) return;
  const bool soon = pending_ || !list.all;
  const u64 until = soon ? std::min(monotonic_ns() + kRetryNs, next_tick_ns_) : next_tick_ns_;
  wait_any({list.words.data(), list.count}, until);
}

}  // namespace dvm::fabric
