#include "tools/fault_plan.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "fabric/fault_board.h"
#include "fabric/fd.h"
#include "fabric/point_names.h"
#include "tools/corrupt_target.h"
#include "tools/event_text.h"
#include "tools/json_text.h"

namespace dvm::tools {
namespace {

using fabric::FaultKind;
using fabric::FaultRequest;
using fabric::TriggerKind;
using nlohmann::json;

struct NumberKey {
  std::string_view name;
  u64 least, most;
  void (*put)(FaultRequest&, u64);
};
constexpr u64 kAny = ~u64{0};
constexpr std::array<NumberKey, 10> kNumbers = {{
    {"for_ms", 1, kMaxFaultMs, [](FaultRequest& r, u64 v) { r.duration_ms = v; }},
    {"share", 1, 99, [](FaultRequest& r, u64 v) { r.share = static_cast<u32>(v); }},
    {"period_ms", 10, 10'000, [](FaultRequest& r, u64 v) { r.period_ms = static_cast<u32>(v); }},
    {"value", 0, kAny, [](FaultRequest& r, u64 v) { r.value = v; }},
    {"address", 0, kAny, [](FaultRequest& r, u64 v) { r.value = v; }},
    {"at_ms", 0, kMaxFaultMs, [](FaultRequest& r, u64 v) { r.delay_ms = v; }},
    {"mean_ms", 1, kMaxFaultMs, [](FaultRequest& r, u64 v) { r.delay_ms = v; }},
    {"seed", 0, kAny, [](FaultRequest& r, u64 v) { r.seed = v; }},
    {"occurrence", 1, 1'000'000'000,
     [](FaultRequest& r, u64 v) { r.occurrence = static_cast<u32>(v); }},
    {"node", 0, vmm::layout::kMaxNodes - 1,
     [](FaultRequest& r, u64 v) { r.target = vmm::kFirstNodeInstance + static_cast<u32>(v); }},
}};

// What a fault takes besides its trigger; the first `needed` of them it must have.
struct KindKeys {
  FaultKind kind;
  std::size_t needed;
  std::vector<std::string_view> keys;
};

const KindKeys& keys_of(FaultKind kind) {
  static const std::array<KindKeys, 10> table = {{
      {FaultKind::kill, 1, {"node"}},
      {FaultKind::kill_host, 1, {"node"}},
      {FaultKind::hang, 1, {"node", "for_ms"}},
      {FaultKind::slow, 1, {"node", "for_ms", "share", "period_ms"}},
      {FaultKind::power_fail, 1, {"node"}},
      {FaultKind::partition, 1, {"node", "for_ms"}},
      {FaultKind::lost_lines, 1, {"node"}},
      {FaultKind::telemetry, 3, {"node", "reading", "value"}},
      {FaultKind::panic_guest, 0, {}},
      {FaultKind::corrupt, 1, {"record", "address"}},
  }};
  return *std::find_if(table.begin(), table.end(),
                       [&](const KindKeys& k) { return k.kind == kind; });
}

bool may_hit_manager(FaultKind kind) {
  return kind == FaultKind::kill || kind == FaultKind::hang || kind == FaultKind::slow;
}

std::string fault_names() {
  std::string names;
  for (u32 i = 1; i < fabric::kFaultKinds; ++i)
    names += fmt::format("{}{}", i == 1 ? "" : ", ", fabric::fault_name(static_cast<FaultKind>(i)));
  return names;
}

Result<FaultKind> kind_of(const json& object) {
  const auto it = object.find("fault");
  if (it == object.end()) return usage_error("no fault; allowed: {}", fault_names());
  const auto kind =
      it->is_string() ? fabric::fault_by_name(it->get_ref<const std::string&>()) : std::nullopt;
  if (!kind) return usage_error("fault: found {}; allowed: {}", shown(*it), fault_names());
  return *kind;
}

Status put_number(const NumberKey& key, const json& value, FaultRequest& request) {
  if (value.is_number_unsigned()) {
    const u64 number = value.get<u64>();
    if (number >= key.least && number <= key.most) {
      key.put(request, number);
      return {};
    }
  }
  return usage_error("{}: found {}; allowed: a whole number from {} to {}", key.name, shown(value),
                     key.least, key.most);
}

Status put_point(const json& value, FaultRequest& request) {
  if (!value.is_string() || !fabric::is_point(value.get_ref<const std::string&>()))
    return usage_error("at_point: found {}; allowed: a name that dvm-fault points lists",
                       shown(value));
  const auto& name = value.get_ref<const std::string&>();
  std::copy(name.begin(), name.end(), request.point.begin());
  return {};
}

Status put_reading(const json& value, FaultRequest& request) {
  const auto reading = value.is_string()
                           ? fabric::reading_by_name(value.get_ref<const std::string&>())
                           : std::nullopt;
  if (reading) {
    request.reading = static_cast<u32>(*reading);
    return {};
  }
  std::string names;
  for (u32 i = 0; i < fabric::kHealthReadings; ++i)
    names += fmt::format("{}{}", i == 0 ? "" : ", ",
                         fabric::reading_name(static_cast<fabric::HealthReading>(i)));
  return usage_error("reading: found {}; allowed: {}", shown(value), names);
}

Status put(const std::string& key, const json& value, PlannedFault& fault) {
  FaultRequest& request = fault.request;
  if (key == "node" && value == "fabric" && may_hit_manager(request.kind)) {
    request.target = fabric::kManagerInstance;
    return {};
  }
  if (key == "at_point") return put_point(value, request);
  if (key == "reading") return put_reading(value, request);
  if (key == "record") {
    if (value.is_string()) DVM_TRY(check_corrupt_name(value.get_ref<const std::string&>()));
    if (!value.is_string())
      return usage_error("record: found {}; allowed: {}", shown(value), corrupt_names());
    fault.record = value.get<std::string>();
    return {};
  }
  for (const NumberKey& number : kNumbers) {
    if (number.name == key) return put_number(number, value, request);
  }
  return {};
}

// Which trigger the keys that are there make; they exclude one another.
Result<TriggerKind> trigger_of(const json& object) {
  const bool at = object.contains("at_ms"), point = object.contains("at_point"),
             random = object.contains("seed");
  if (at + point + random > 1)
    return usage_error("more than one trigger; allowed: one of at_ms, at_point, seed");
  if (object.contains("occurrence") && !point)
    return usage_error("occurrence: allowed with at_point only");
  if (object.contains("mean_ms") && !random) return usage_error("mean_ms: allowed with seed only");
  if (at) return TriggerKind::at;
  if (point) return TriggerKind::point;
  return random ? TriggerKind::random : TriggerKind::now;
}

Status check_keys(const json& object, const KindKeys& known) {
  static constexpr std::array<std::string_view, 6> kTriggers = {"fault",      "at_ms", "at_point",
                                                                "occurrence", "seed",  "mean_ms"};
  for (const auto& [key, value] : object.items()) {
    const auto is = [&key = key](std::string_view k) { return k == key; };
    if (std::none_of(kTriggers.begin(), kTriggers.end(), is) &&
        std::none_of(known.keys.begin(), known.keys.end(), is))
      return usage_error("unknown key '{}'; allowed: {}{}{}", key.substr(0, 40),
                         fmt::join(known.keys, ", "), known.keys.empty() ? "" : ", ",
                         fmt::join(kTriggers, ", "));
  }
  for (std::size_t i = 0; i < known.needed; ++i) {
    if (!object.contains(known.keys[i]))
      return usage_error("no {}; allowed: {}", known.keys[i], fmt::join(known.keys, ", "));
  }
  return {};
}

Result<PlannedFault> parse_checked(const json& object) {
  DVM_ASSIGN(const FaultKind kind, kind_of(object));
  const auto in_kind = [&](const Error& why) {
    return usage_error("{}: {}", fabric::fault_name(kind), why.message);
  };
  PlannedFault fault;
  fault.request.kind = kind;
  if (const auto ok = check_keys(object, keys_of(kind)); !ok.ok()) return in_kind(ok.error());
  const auto trigger = trigger_of(object);
  if (!trigger) return in_kind(trigger.error());
  fault.request.trigger = *trigger;
  if (*trigger == TriggerKind::random) fault.request.delay_ms = 1000;  // unless mean_ms says
  for (const auto& [key, value] : object.items()) {
    if (const auto ok = put(key, value, fault); !ok.ok()) return in_kind(ok.error());
  }
  if ((fault.record == kPageRecord) != object.contains("address"))
    return in_kind(usage_error("record page needs an address, and no other has one"));
  return fault;
}

}  // namespace

Result<PlannedFault> parse_fault(const json& object) {
  if (!object.is_object())
    return usage_error("found {}; allowed: an object with a fault", shown(object));
  return parse_checked(object);
}

Result<std::vector<PlannedFault>> parse_fault_plan(const json& plan) {
  if (!plan.is_object() || plan.size() != 1 || !plan.contains("faults"))
    return usage_error("found {}; allowed: an object with the one key faults", shown(plan));
  const json& list = plan["faults"];
  constexpr std::size_t kMost = fabric::FaultBoard::kRecords;
  if (!list.is_array() || list.empty() || list.size() > kMost)
    return usage_error("faults: found {}; allowed: a list of 1 to {} faults",
                       list.is_array() ? fmt::format("{} of them", list.size()) : shown(list),
                       kMost);
  std::vector<PlannedFault> faults;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto fault = parse_fault(list[i]);
    if (!fault) return usage_error("faults[{}]: {}", i, fault.error().message);
    faults.push_back(fault.take());
  }
  return faults;
}

Result<json> parse_fault_text(const std::string& text, const std::string& name) {
  json plan = parse_json(text);
  if (plan.is_discarded()) return usage_error("{}: not valid JSON", name);
  if (const auto faults = parse_fault_plan(plan); !faults)
    return usage_error("{}: {}", name, faults.error().message);
  return plan;
}

Result<json> read_fault_plan(const std::string& path) {
  auto file = Fd::open(path, O_RDONLY | O_NONBLOCK);  // a pipe must not keep us waiting
  if (!file) return usage_error("{}", file.error().message);
  std::string text;
  std::array<char, 16384> part;
  for (;;) {
    const ssize_t n = ::read(file->get(), part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return usage_error("{}", sys_error("read " + path).message);
    if (n == 0) return parse_fault_text(text, path);
    text.append(part.data(), static_cast<std::size_t>(n));
    if (text.size() > kMaxPlanBytes) return usage_error("{}: longer than 1 MiB", path);
  }
}

std::string describe_fault(FaultKind kind, u32 target) {
  std::string text(fabric::fault_name(kind));
  if (fabric::has_target(kind)) text += " " + instance_name(target);
  return text;
}

}  // namespace dvm::tools
