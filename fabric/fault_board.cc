#include "fabric/fault_board.h"

namespace dvm::fabric {
namespace {

bool is_over(FaultStage stage) {
  return stage == FaultStage::free || stage == FaultStage::done || stage == FaultStage::failed;
}

// One that is over, the oldest first, so that results can be looked at for as long as possible.
FaultRecord* take_record(FaultBoard& board) {
  for (;;) {
    FaultRecord* oldest = nullptr;
    for (FaultRecord& record : board.records) {
      if (is_over(look(record).stage) && (oldest == nullptr || record.number < oldest->number))
        oldest = &record;
    }
    if (oldest == nullptr) return nullptr;
    u64 seen = oldest->word.load();
    const FaultWord writing{FaultStage::writing, 0, {}};
    if (is_over(FaultWord::unpack(seen).stage) &&
        oldest->word.compare_exchange_strong(seen, writing.packed()))
      return oldest;
  }
}

// What the process that hits the point does itself; everything else the executor does.
FaultAction action_at_point(FaultKind kind) {
  switch (kind) {
    case FaultKind::kill:
    case FaultKind::kill_host:
    case FaultKind::power_fail: return FaultAction::kill;
    case FaultKind::hang: return FaultAction::hang;
    default: return FaultAction::report;
  }
}

u64 delay_ns(const FaultRequest& r) {
  if (r.trigger == TriggerKind::at) return r.delay_ms * 1'000'000;
  if (r.trigger == TriggerKind::random) return random_delay_ms(r.seed, r.delay_ms) * 1'000'000;
  return 0;
}

}  // namespace

std::string_view failure_text(FaultFailure failure) {
  switch (failure) {
    case FaultFailure::none: return "none";
    case FaultFailure::target_gone: return "its target is gone";
    case FaultFailure::no_process: return "its target's process could not be signalled";
    case FaultFailure::refused: return "the guest has no running vCPU that it could reach";
  }
  return "unknown";
}

Result<u32> post_fault(FaultBoard& board, const FaultRequest& request) {
  FaultRecord* record = take_record(board);
  if (record == nullptr)
    return error("{} faults are pending; allowed: at most {}", FaultBoard::kRecords,
                 FaultBoard::kRecords);
  const u32 number = board.last_number.fetch_add(1) + 1;
  record->number = number;
  record->request = request;
  record->due_ns.store(monotonic_ns() + delay_ns(request));
  record->began_ns.store(0);
  record->victim.store(0);
  record->failure.store(0);
  const auto low = static_cast<u16>(number);
  record->word.store(FaultWord{FaultStage::armed, low, {}}.packed(), std::memory_order_release);
  const auto index = static_cast<u32>(record - board.records.data());
  const u32 where = request.target == kNoTarget ? ~0u : request.target;
  if (request.trigger == TriggerKind::point &&
      !arm_fault(board.points, request.point_name(), action_at_point(request.kind),
                 request.occurrence - 1, where, 0, index + 1)) {
    record->word.store(FaultWord{FaultStage::free, low, {}}.packed());
    return error("{} points are armed; allowed: at most {}", FaultTable::kFaults,
                 FaultTable::kFaults);
  }
  ring(board.changed);
  return number;
}

const FaultRecord* find_fault(const FaultBoard& board, u32 number) {
  for (const FaultRecord& record : board.records) {
    const FaultStage stage = look(record).stage;
    if (stage != FaultStage::free && stage != FaultStage::writing && record.number == number)
      return &record;
  }
  return nullptr;
}

void fault_fired(FaultBoard& board, const ArmedFault& armed) {
  const u32 index = armed.request - 1;
  if (index >= board.records.size()) return;  // 0: no request's
  FaultRecord& record = board.records[index];
  const auto low = static_cast<u16>(record.number);
  u64 waiting = FaultWord{FaultStage::armed, low, {}}.packed();
  const FaultWord due{FaultStage::due, low, {}};
  if (record.word.compare_exchange_strong(waiting, due.packed())) ring(board.changed);
}

}  // namespace dvm::fabric
