#include "tools/control_fault.h"

#include <nlohmann/json.hpp>

#include "tools/corrupt_target.h"
#include "tools/fault_plan.h"

namespace dvm::tools {
namespace {

using fabric::FaultBoard;
using fabric::FaultRecord;
using fabric::FaultRequest;
using fabric::FaultStage;
using nlohmann::json;
using vmm::Machine;

constexpr u64 kWaitNs = 2'000'000'000, kLookNs = 5'000'000;

Status fit_to_guest(PlannedFault& fault, Machine& machine) {
  FaultRequest& r = fault.request;
  const u32 node = r.target - vmm::kFirstNodeInstance;
  const auto is_there = [&](u32 n) {
    return n < vmm::layout::kMaxNodes &&
           machine.state().nodes[n].stage.load() != vmm::NodeStage::none;
  };
  if (fabric::has_target(r.kind) && r.target != fabric::kManagerInstance && !is_there(node)) {
    u32 last = vmm::layout::kMaxNodes - 1;
    while (last != 0 && !is_there(last)) --last;
    return error("{}: node: found {}; allowed: 0 to {}, of those that are there",
                 fabric::fault_name(r.kind), node, last);
  }
  if (r.kind != fabric::FaultKind::corrupt) return {};
  if (fault.record == kPageRecord) {
    if (machine.is_ram(r.value)) return {};
    return error("corrupt: address: found {:#x}; allowed: one of the guest's RAM", r.value);
  }
  DVM_ASSIGN(const CorruptPlace place, find_corrupt_place(machine, fault.record));
  r.value = place.offset;
  r.mask = place.mask;
  return {};
}

std::string_view stage_text(FaultStage stage) {
  switch (stage) {
    case FaultStage::armed:
    case FaultStage::due: return "armed";
    case FaultStage::acting: return "under way";
    case FaultStage::failed: return "failed";
    default: return "done";
  }
}

// Its effect is there, or will not be.
bool has_begun(const FaultRecord* record) {
  if (record == nullptr) return true;
  const FaultStage stage = fabric::look(*record).stage;
  if (stage == FaultStage::acting)
    return record->request.duration_ms != 0 || lasts(record->request.kind);
  return stage == FaultStage::done || stage == FaultStage::failed;
}

void await(FaultBoard& board, u32 number, u64 limit) {
  for (;;) {
    const u32 seen = fabric::listen(board.changed);
    const FaultRecord* record = fabric::find_fault(board, number);
    const u64 now = fabric::monotonic_ns();
    if (has_begun(record) || now >= limit) return;
    fabric::wait(board.changed, seen, now + kLookNs);
  }
}

json describe(const FaultBoard& board, u32 number, const FaultRequest& request) {
  json result = {{"number", number}, {"fault", describe_fault(request.kind, request.target)}};
  const FaultRecord* record = fabric::find_fault(board, number);
  const FaultStage stage = record == nullptr ? FaultStage::done : fabric::look(*record).stage;
  result["state"] = stage_text(stage);
  if (stage == FaultStage::failed)
    result["why"] = fabric::failure_text(static_cast<fabric::FaultFailure>(record->failure.load()));
  return result;
}

}  // namespace

Result<json> handle_fault_request(const json& request, Machine& machine) {
  json plan = request;
  plan.erase("command");
  auto faults = parse_fault_plan(plan);
  if (!faults) return error("fault: {}", faults.error().message);
  for (PlannedFault& fault : *faults) DVM_TRY(fit_to_guest(fault, machine));
  FaultBoard& board = machine.faults();
  std::vector<u32> numbers;
  for (const PlannedFault& fault : *faults) {
    DVM_ASSIGN(const u32 number, fabric::post_fault(board, fault.request));
    numbers.push_back(number);
  }
  const u64 limit = fabric::monotonic_ns() + kWaitNs;  // for all of them together
  json results = json::array();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const FaultRequest& r = (*faults)[i].request;
    if (r.trigger == fabric::TriggerKind::now) await(board, numbers[i], limit);
    results.push_back(describe(board, numbers[i], r));
  }
  return json{{"faults", std::move(results)}};
}

}  // namespace dvm::tools
