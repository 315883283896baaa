#include "tools/recovery_figures.h"

#include <nlohmann/json.hpp>

#include <fmt/format.h>

namespace dvm::tools {

using nlohmann::json;

RecoveryFigures recovery_figures(const vmm::MachineState& state) {
  RecoveryFigures f;
  u64 newest = 0;
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    const vmm::KeeperRecord& record = state.keepers[n];
    for (u32 k = 0; k < vmm::kRecoveryKinds; ++k) f.by_kind[k] += record.recoveries[k].load();
    const u64 woken = record.woken_ns.load(), done = record.done_ns.load();
    if (done <= newest || done < woken) continue;
    newest = done;
    f.last = {n, done - woken};
  }
  return f;
}

json recoveries_json(const vmm::MachineState& state) {
  const RecoveryFigures f = recovery_figures(state);
  json figures = json::object();
  for (u32 k = 0; k < vmm::kRecoveryKinds; ++k)
    figures[std::string(vmm::kRecoveryNames[k])] = f.by_kind[k];
  figures["last"] =
      f.last ? json{{"node", f.last->node}, {"took_ns", f.last->took_ns}} : json(nullptr);
  return figures;
}

std::string recoveries_text(const json& recoveries) {
  constexpr std::array<const char*, vmm::kRecoveryKinds> kWords = {"killed", "hung",
                                                                   "lost their power"};
  std::string text;
  for (u32 k = 0; k < vmm::kRecoveryKinds; ++k) {
    const u64 times = recoveries.at(std::string(vmm::kRecoveryNames[k])).get<u64>();
    if (times != 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", times, kWords[k]);
  }
  return text;
}

u64 last_pause_ns(const vmm::VcpuRecord& vcpu) {
  const u64 begun = vcpu.move.begun.load(), entered = vcpu.move.entered.load();
  return entered > begun ? entered - begun : 0;
}

}  // namespace dvm::tools
