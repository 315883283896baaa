#include "fabric/failure_record.h"

#include "fabric/doorbell.h"

namespace dvm::fabric {
namespace {

std::atomic<u64>* time_of(FailureRecord& record, FailureStage stage) {
  switch (stage) {
    case FailureStage::suspect: return &record.suspect_ns;
    case FailureStage::fenced: return &record.fenced_ns;
    case FailureStage::announced: return &record.announced_ns;
    case FailureStage::dead: return &record.dead_ns;
    default: return nullptr;
  }
}

}  // namespace

bool advance(FailureTable& table, InstanceId who, FailureStage from, FailureStage to, u16 step) {
  if (who.id >= kMaxInstances) return false;
  FailureRecord& record = table[who.id];
  u64 seen = record.word.load(std::memory_order_acquire);
  FailureWord word = FailureWord::unpack(seen);
  if (word.generation != who.generation || word.stage != from) return false;
  word.stage = to;
  word.step = step;
  const u64 now = monotonic_ns();
  if (!record.word.compare_exchange_strong(seen, word.packed(), std::memory_order_acq_rel))
    return false;
  if (auto* time = time_of(record, to); time != nullptr && from != to)
    time->store(now, std::memory_order_relaxed);
  return true;
}

bool begin_failure(FailureTable& table, InstanceTable& instances, InstanceId who,
                   FailureCause cause) {
  if (who.id >= kMaxInstances || !who.valid()) return false;
  FailureRecord& record = table[who.id];
  u64 seen = record.word.load(std::memory_order_acquire);
  const FailureWord former = FailureWord::unpack(seen);
  if (former.unfinished() || former.generation == who.generation) return false;
  const FailureWord word{who.generation, FailureStage::suspect, cause, 0};
  if (!record.word.compare_exchange_strong(seen, word.packed(), std::memory_order_acq_rel))
    return false;
  record.suspect_ns.store(monotonic_ns(), std::memory_order_relaxed);
  InstanceState active = InstanceState::active;
  instances.slots[who.id].state.compare_exchange_strong(active, InstanceState::suspect);
  return true;
}

}  // namespace dvm::fabric
