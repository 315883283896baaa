#include "fabric/fault_injector.h"

#include <algorithm>

namespace dvm::fabric {

using Order = FaultStep::Order;

FaultInjector::FaultInjector(const FaultPlace& place, FabricState& fabric, InstanceTable& instances,
                             Peer& peer, FaultHooks hooks)
    : place_(place),
      fabric_(fabric),
      instances_(instances),
      peer_(peer),
      hooks_(std::move(hooks)),
      effects_(place, fabric, instances, peer.self(), hooks_) {}

Status FaultInjector::run() {
  DVM_ASSIGN(const auto life, peer_.register_thread());
  FaultBoard& board = *place_.board;
  while (!stopping_.load(std::memory_order_acquire)) {
    const u32 seen = listen(board.changed);
    const u32 cut = board.cut.load();
    if ((cut_seen_ & ~cut) != 0 && hooks_.healed) hooks_.healed();
    cut_seen_ = cut;
    u64 until = ~u64{0};
    for (FaultRecord& record : board.records)
      until = std::min(until, look_at(record, monotonic_ns()));
    if (stopping_.load(std::memory_order_acquire)) break;
    fabric::wait(board.changed, seen, until == ~u64{0} ? std::nullopt : std::optional<u64>(until));
  }
  return {};
}

void FaultInjector::stop() {
  stopping_.store(true, std::memory_order_release);
  ring(place_.board->changed);
}

u64 FaultInjector::look_at(FaultRecord& record, u64 now) {
  const FaultWord word = look(record);
  const u64 began = record.began_ns.load();
  const FaultLife life{word.stage, record.request.trigger, record.due_ns.load(),
                       FaultEffects::until_ns(record.request, began)};
  const FaultStep next = step(life, sight_of(record, word, now));
  switch (next.order) {
    case Order::start:
    case Order::start_again: start(record, word, next.order == Order::start_again); break;
    case Order::end:
      effects_.end(record);
      if (lasts(record.request.kind)) tell(EventKind::fault_ended, record, 0);
      finish(record, FaultStage::done);
      break;
    case Order::drop: {
      u64 seen = word.packed();
      const FaultWord failed{FaultStage::failed, word.number, {}};
      record.failure.store(static_cast<u32>(FaultFailure::target_gone));
      if (!record.word.compare_exchange_strong(seen, failed.packed())) break;
      disarm_faults(place_.board->points,
                    static_cast<u32>(&record - place_.board->records.data()) + 1);
      tell(EventKind::fault_failed, record, record.failure.load());
      break;
    }
    case Order::nothing: break;
  }
  u64 again = next.look_again_ns;
  if (look(record).stage == FaultStage::acting && look(record).executor == peer_.self())
    again = std::min(again, effects_.keep_up(record, now));
  return again;
}

FaultSight FaultInjector::sight_of(const FaultRecord& record, const FaultWord& word,
                                   u64 now) const {
  FaultSight sight{.now_ns = now};
  if (word.stage != FaultStage::armed && word.stage != FaultStage::due &&
      word.stage != FaultStage::acting)
    return sight;
  sight.target_gone = target_gone(record);
  sight.chosen = chosen_for(record.request);
  if (word.stage != FaultStage::acting) {
    // One that has not joined yet is waited for.
    const u32 target = record.request.target;
    const bool there = target == kNoTarget || fabric_.peers.records[target].instance.load() != 0;
    sight.chosen = sight.chosen && (there || sight.target_gone || word.stage == FaultStage::due);
  } else if (word.executor == peer_.self()) {
    sight.executor = FaultSight::Executor::self;
  } else {
    sight.executor = instances_.is_stale(word.executor) ? FaultSight::Executor::dead
                                                        : FaultSight::Executor::living;
  }
  return sight;
}

bool FaultInjector::target_gone(const FaultRecord& record) const {
  const u32 target = record.request.target;
  if (target >= kMaxInstances) return false;
  if (const auto victim = InstanceId::unpack(record.victim.load()); victim.valid())
    return instances_.is_stale(victim);
  const InstanceState state = instances_.slots[target].state.load();
  return state > InstanceState::suspect &&
         fabric_.peers.records[target].instance.load(std::memory_order_acquire) == 0;
}

bool FaultInjector::may_act(const FaultRequest& request, u32 id) const {
  if (fabric_.peers.records[id].instance.load(std::memory_order_acquire) == 0) return false;
  return needs_guest(request) ? id != kManagerInstance : id != request.target;
}

bool FaultInjector::chosen_for(const FaultRequest& request) const {
  const InstanceId leads = RoleWord::unpack(fabric_.role.word.load()).holder;
  if (leads.valid() && leads.id < kMaxInstances && may_act(request, leads.id))
    return leads == peer_.self();
  for (u32 id = 0; id < kMaxInstances; ++id) {
    if (may_act(request, id)) return id == peer_.self().id;
  }
  return false;
}

void FaultInjector::start(FaultRecord& record, FaultWord seen, bool again) {
  u64 before = seen.packed();
  const FaultWord mine{FaultStage::acting, seen.number, peer_.self()};
  if (!record.word.compare_exchange_strong(before, mine.packed(), std::memory_order_acq_rel))
    return;
  failpoint("fault.claimed");
  if (record.began_ns.load() == 0) record.began_ns.store(monotonic_ns());
  if (const u32 target = record.request.target; target < kMaxInstances) {
    u64 nobody = 0;
    const u64 there = fabric_.peers.records[target].instance.load(std::memory_order_acquire);
    record.victim.compare_exchange_strong(nobody, there);
  }
  failpoint("fault.pinned");
  if (!again || !told(record.number)) tell(EventKind::fault_injected, record, 0);
  failpoint("fault.told");
  const FaultFailure failure = effects_.begin(record);
  failpoint("fault.done");
  if (failure == FaultFailure::none) return;
  record.failure.store(static_cast<u32>(failure));
  disarm_faults(place_.board->points, static_cast<u32>(&record - place_.board->records.data()) + 1);
  tell(EventKind::fault_failed, record, static_cast<u64>(failure));
  finish(record, FaultStage::failed);
}

// Only its executor calls this.
void FaultInjector::finish(FaultRecord& record, FaultStage stage) {
  const FaultWord over{stage, look(record).number, {}};
  record.word.store(over.packed(), std::memory_order_release);
  ring(place_.board->changed);
}

bool FaultInjector::told(u32 number) const {
  bool found = false;
  read_events(*place_.events, 0, [&](const Event& event) {
    found = found || (event.kind == EventKind::fault_injected && event.arguments[0] == number);
  });
  return found;
}

void FaultInjector::tell(EventKind kind, const FaultRecord& record, u64 detail) {
  const FaultRequest& r = record.request;
  if (kind == EventKind::fault_injected) {
    detail =
        r.kind == FaultKind::telemetry || r.kind == FaultKind::corrupt ? r.value : r.duration_ms;
  }
  append_event(*place_.events, peer_.self(), instances_, kind,
               {record.number, fault_tag(r), detail});
}

}  // namespace dvm::fabric
