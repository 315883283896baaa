#include "tools/balloon_request.h"

#include <nlohmann/json.hpp>

#include "tools/size_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u64 kStatsWaitNs = 500'000'000;

Status check_size(u64 bytes, const vmm::Machine& machine) {
  const u64 most = machine.config().memory_bytes - vmm::layout::kMinMemory;
  if (bytes > most) {
    return error("balloon: found {}; allowed: 0 to {} of the guest's {}", format_size(bytes),
                 format_size(most), format_size(machine.config().memory_bytes));
  }
  if (!is_aligned(bytes, vmm::kBalloonPageBytes))
    return error("balloon: found {} bytes; allowed: a multiple of 4096", bytes);
  return {};
}

void refresh_stats(vmm::Machine& machine) {
  vmm::BalloonRecord& record = machine.state().balloon;
  const u64 limit = fabric::monotonic_ns() + kStatsWaitNs;
  const u64 before = record.stats_told.load();
  machine.request_balloon_stats();
  while (fabric::monotonic_ns() < limit) {
    const u32 seen = fabric::listen(record.changed);
    if (record.stats_told.load() != before) return;
    fabric::wait(record.changed, seen, limit);
  }
}

}  // namespace

json balloon_json(vmm::Machine& machine) {
  const auto function = vmm::find_function(machine.config().functions, vmm::FunctionKind::balloon);
  if (!function) return nullptr;
  const vmm::BalloonRecord& record = machine.state().balloon;
  json stats = json::object();
  for (u32 tag = 0; tag < vmm::kBalloonStats && record.stats_told.load() != 0; ++tag) {
    const u64 value = record.stats[tag].load();
    if (value != vmm::kBalloonNotTold) stats[std::string(vmm::balloon_stat_name(tag))] = value;
  }
  return {{"target", machine.state().functions[*function].capacity.load()},
          {"actual", machine.balloon_actual()},
          {"given_back", record.ballooned.load()},
          {"reported", record.reported.load()},
          {"deflated", record.deflated.load()},
          {"kept", record.kept.load()},
          {"stats", std::move(stats)}};
}

Result<json> balloon_request(const json& request, vmm::Machine& machine) {
  if (!vmm::find_function(machine.config().functions, vmm::FunctionKind::balloon))
    return error("balloon: the guest has none; allowed: when it was started with --balloon");
  if (const auto it = request.find("bytes"); it != request.end()) {
    if (!it->is_number_unsigned()) return error("balloon: bytes: allowed: a whole number");
    DVM_TRY(check_size(it->get<u64>(), machine));
    machine.set_balloon(it->get<u64>());
  }
  if (machine.state().control.phase.load() == vmm::Phase::running) refresh_stats(machine);
  return balloon_json(machine);
}

}  // namespace dvm::tools
