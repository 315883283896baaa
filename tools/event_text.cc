#include "tools/event_text.h"

#include <nlohmann/json.hpp>

#include "fabric/fabric_state.h"
#include "tools/exit_reason.h"

namespace dvm::tools {

using fabric::Event;
using fabric::EventKind;
using nlohmann::json;

std::string instance_name(u32 instance) {
  if (instance == vmm::kLauncherInstance) return "launcher";
  if (instance - vmm::kFirstNodeInstance < vmm::layout::kMaxNodes) {
    return fmt::format("node {}", instance - vmm::kFirstNodeInstance);
  }
  if (instance == fabric::kManagerInstance) return "fabric";
  if (instance == vmm::kNetInstance) return "net";
  return fmt::format("instance {}", instance);
}

namespace {

void name_fault(json& object, const Event& event) {
  using fabric::FaultKind;
  const FaultKind kind = fabric::tagged_kind(event.arguments[1]);
  const u32 target = fabric::tagged_target(event.arguments[1]);
  object["fault"] = fabric::fault_name(kind);
  if (fabric::has_target(kind)) object["target"] = instance_name(target);
  if (event.kind == EventKind::fault_failed) {
    object["why"] = fabric::failure_text(static_cast<fabric::FaultFailure>(event.arguments[2]));
    return;
  }
  object.erase("detail");
  if (event.kind != EventKind::fault_injected) return;
  const u64 detail = event.arguments[2];
  if (kind == FaultKind::corrupt)
    object[fabric::tagged_bad_page(event.arguments[1]) ? "address" : "offset"] = detail;
  if (kind == FaultKind::telemetry) object["value"] = detail;
  if (fabric::lasts(kind) && detail != 0) object["for_ms"] = detail;
}

}  // namespace

json event_json(const Event& event) {
  json object = {{"seq", event.sequence},
                 {"time_ns", event.time_ns},
                 {"event", fabric::event_name(event.kind)},
                 {"source", instance_name(event.instance)}};
  const auto names = fabric::event_arguments(event.kind);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) object[std::string(names[i])] = event.arguments[i];
  }
  if (event.kind == EventKind::fault_injected || event.kind == EventKind::fault_ended ||
      event.kind == EventKind::fault_failed)
    name_fault(object, event);
  if (event.kind == EventKind::vcpu_moved) {
    object.erase("nodes");
    object["from"] = event.arguments[1] >> 32;
    object["to"] = event.arguments[1] & 0xffff'ffff;
  }
  if (event.kind == EventKind::node_health)
    object["node"] = event.arguments[0] - vmm::kFirstNodeInstance;
  if (event.kind == EventKind::node_health || event.kind == EventKind::node_failing) {
    object["reading"] =
        fabric::reading_name(static_cast<fabric::HealthReading>(event.arguments[1]));
  }
  return object;
}

namespace {

const char* panic_text(u64 cause) {
  using vmm::PanicCause;
  switch (static_cast<PanicCause>(cause)) {
    case PanicCause::triple_fault: return "triple-faulted";
    case PanicCause::watchdog: return "did not ping its watchdog in time";
    default: return "panicked";
  }
}

}  // namespace

std::optional<std::string> event_message(const Event& event, const vmm::MachineConfig& config) {
  const auto& a = event.arguments;
  switch (event.kind) {
    case EventKind::guest_restarted:
      return fmt::format("the guest runs again, {} us after the wish to reset it", a[1] / 1000);
    case EventKind::checkpoint_taken:
      return fmt::format(
          "a checkpoint was taken: {} of {} pages written, the guest stood still for {} ms", a[1],
          a[2], a[0] / 1'000'000);
    case EventKind::guest_reset: return fmt::format("the guest resets: boot {}", a[0]);
    case EventKind::guest_panicked:
      return fmt::format("the guest {}: it {}", panic_text(a[0]),
                         config.exit_on_panic != 0 ? "ends" : "reboots");
    case EventKind::guest_error:
      return fmt::format("vCPU {} cannot go on: KVM exit {} ({}), detail {:#x}", a[0],
                         exit_reason_name(a[1]), a[1], a[2]);
    case EventKind::node_failing:
      return fmt::format("node {} is failing ({}): it is evacuated", a[0],
                         fabric::reading_name(static_cast<fabric::HealthReading>(a[1])));
    case EventKind::paused: return "paused";
    case EventKind::resumed: return "resumed";
    default: return std::nullopt;  // node_died is told by the one who saw it; the rest is ordinary
  }
}

}  // namespace dvm::tools
