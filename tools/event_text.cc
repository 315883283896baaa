#include "tools/event_text.h"

#include <nlohmann/json.hpp>

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
  return fmt::format("instance {}", instance);
}

json event_json(const Event& event) {
  json object = {{"seq", event.sequence},
                 {"time_ns", event.time_ns},
                 {"event", fabric::event_name(event.kind)},
                 {"source", instance_name(event.instance)}};
  const auto names = fabric::event_arguments(event.kind);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) object[std::string(names[i])] = event.arguments[i];
  }
  return object;
}

std::optional<std::string> event_message(const Event& event, const vmm::MachineConfig& config) {
  const auto& a = event.arguments;
  switch (event.kind) {
    case EventKind::guest_reset: return fmt::format("the guest resets: boot {}", a[0]);
    case EventKind::guest_panicked:
      return fmt::format("the guest {}: it {}", a[0] == 0 ? "panicked" : "triple-faulted",
                         config.exit_on_panic != 0 ? "ends" : "reboots");
    case EventKind::guest_error:
      return fmt::format("vCPU {} cannot go on: KVM exit {} ({}), detail {:#x}", a[0],
                         exit_reason_name(a[1]), a[1], a[2]);
    case EventKind::paused: return "paused";
    case EventKind::resumed: return "resumed";
    default: return std::nullopt;  // node_died is told by the one who saw it; the rest is ordinary
  }
}

}  // namespace dvm::tools
