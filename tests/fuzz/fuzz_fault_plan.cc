// Threat: a fault plan with anything in it. It is refused with one line, or every fault in it is in
// its range.
//
// Input: the plan's text.
#include <nlohmann/json.hpp>

#include "fabric/fault_board.h"
#include "fabric/point_names.h"
#include "tests/fuzz/input.h"
#include "tools/corrupt_target.h"
#include "tools/fault_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  using fabric::FaultKind;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto plan = tools::parse_fault_text(text, "fuzz.json");
  if (!plan.ok()) {
    FUZZ_CHECK(!plan.error().message.empty());
    FUZZ_CHECK(plan.error().kind == ErrorKind::usage);
    return 0;
  }
  const auto faults = tools::parse_fault_plan(*plan);
  FUZZ_CHECK(faults.ok());
  FUZZ_CHECK(!faults->empty() && faults->size() <= fabric::FaultBoard::kRecords);
  for (const auto& fault : *faults) {
    const auto& r = fault.request;
    FUZZ_CHECK(r.kind > FaultKind::none && static_cast<u32>(r.kind) < fabric::kFaultKinds);
    FUZZ_CHECK(fabric::has_target(r.kind) ? r.target < fabric::kMaxInstances
                                          : r.target == fabric::kNoTarget);
    FUZZ_CHECK(r.occurrence >= 1 && r.delay_ms <= tools::kMaxFaultMs);
    FUZZ_CHECK(r.duration_ms <= tools::kMaxFaultMs && r.reading < fabric::kHealthReadings);
    FUZZ_CHECK(r.share >= 1 && r.share <= 99 && r.period_ms >= 10 && r.period_ms <= 10'000);
    FUZZ_CHECK((r.trigger == fabric::TriggerKind::point) == fabric::is_point(r.point_name()));
    FUZZ_CHECK((r.kind == FaultKind::corrupt) == tools::check_corrupt_name(fault.record).ok());
  }
  return 0;
}
