#include "fabric/manager.h"

#include "fabric/failpoint.h"

namespace dvm::fabric {

using Kind = Observation::Kind;

Manager::Manager(FabricState& fabric, InstanceTable& instances, Peer& peer, ManagerHooks hooks,
                 Eagerness eagerness)
    : fabric_(fabric),
      instances_(instances),
      peer_(peer),
      hooks_(std::move(hooks)),
      eagerness_(eagerness),
      started_ns_(monotonic_ns()),
      power_(fabric, peer.host(), hooks_.power_off_host) {}

RoleWord Manager::role() const {
  return RoleWord::unpack(fabric_.role.word.load(std::memory_order_acquire));
}

bool Manager::leads() const { return role().holder == peer_.self(); }

Status Manager::run() {
  DVM_ASSIGN(const auto life, peer_.register_thread());
  while (!stopping_.load(std::memory_order_acquire)) {
    if (leads()) {
      lead();
    } else {
      watch_.reset();
      stand_by();
    }
  }
  resign();
  return {};
}

void Manager::stop() {
  stopping_.store(true, std::memory_order_release);
  ring(fabric_.role.changed);
}

void Manager::lead() {
  const u32 seen = listen(fabric_.role.changed);
  if (!watch_) watch_.emplace(fabric_, instances_, peer_, hooks_);
  watch_->look();
  if (!stopping_.load(std::memory_order_acquire)) watch_->wait({&fabric_.role.changed.rings, seen});
}

void Manager::stand_by() {
  const u32 seen = listen(fabric_.role.changed);
  const RoleWord now = role();
  const u64 first_ns = started_ns_ + kFirstHolderNs;
  const bool reserved = eagerness_ == Eagerness::stand_by && now.epoch == 0;
  if (!now.holder.valid() && reserved && monotonic_ns() < first_ns) {
    if (!stopping_.load(std::memory_order_acquire))
      fabric::wait(fabric_.role.changed, seen, first_ns);
  } else if (!now.holder.valid() || instances_.is_stale(now.holder)) {
    take(now);
  } else {
    watch_holder(now, seen);
  }
}

// The holder is judged as it judges the others, by its life word and by the role's heartbeat.
void Manager::watch_holder(RoleWord now, u32 seen) {
  const InstanceId holder = now.holder;
  const PeerRecord& record = fabric_.peers.records[holder.id];
  DetectorMember& member = holder_.members[holder.id];
  if (member.instance != holder) {
    holder_ = {};
    step(holder_, {.kind = Kind::joined,
                   .who = holder,
                   .value = fabric_.role.beats.load(),
                   .host = record.host.load()});
    power_.learn(holder);
  }
  holder_.config = detector_config(fabric_, peer_.host());
  const u32 life = record.life[0].value.load(std::memory_order_acquire);
  const bool here = record.host.load() == peer_.host();
  std::vector<Verdict> verdicts;
  const auto observe = [&](const Observation& o) {
    for (const Verdict& v : step(holder_, o)) verdicts.push_back(v);
  };
  observe({.kind = Kind::beat, .who = holder, .value = fabric_.role.beats.load()});
  observe({.kind = Kind::tick, .value = monotonic_ns()});
  if (here && life_stopped(life)) observe({.kind = Kind::life_lost, .who = holder});
  for (const Verdict& v : verdicts) {
    if (v.kind != Verdict::Kind::power_off) continue;
    failpoint("standby.suspects");
    begin_failure(fabric_.failures, instances_, holder, v.cause);
    power_.off(holder);
  }
  const bool suspect = member.state == InstanceState::suspect;
  if (suspect && power_.stopped(holder)) return take(now);
  if (stopping_.load(std::memory_order_acquire)) return;
  const std::array<WordWait, 2> words = {
      {{&fabric_.role.changed.rings, seen}, {&record.life[0].value, life}}};
  wait_any({words.data(), here && !suspect ? 2u : 1u},
           monotonic_ns() + (suspect ? 200'000 : kStandbyNs));
}

void Manager::take(RoleWord from) {
  failpoint("standby.takes");
  u64 seen = from.packed();
  const RoleWord mine{peer_.self(), from.epoch + 1};
  if (!fabric_.role.word.compare_exchange_strong(seen, mine.packed(), std::memory_order_acq_rel))
    return;
  failpoint("standby.took");
  ring(fabric_.role.changed);
}

void Manager::resign() {
  const RoleWord now = role();
  if (now.holder != peer_.self()) return;
  u64 seen = now.packed();
  const RoleWord nobody{{}, now.epoch};
  fabric_.role.word.compare_exchange_strong(seen, nobody.packed(), std::memory_order_acq_rel);
  ring(fabric_.role.changed);
}

}  // namespace dvm::fabric
