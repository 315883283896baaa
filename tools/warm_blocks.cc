#include "tools/warm_blocks.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "srt/block_runs.h"
#include "tools/guest_preparation.h"

namespace dvm::tools {

using nlohmann::json;

std::vector<srt::WarmDisk> warm_disks(const GuestDisks& disks, const vmm::Machine& machine) {
  std::vector<srt::WarmDisk> named;
  for (u32 n = 0; n < disks.count(); ++n) {
    std::error_code none;  // of a folder that was removed: the path begins nowhere then
    const auto path = std::filesystem::absolute(disks.path(n), none).lexically_normal();
    const auto& function = machine.state().functions[kFirstDiskFunction + n];
    named.push_back({path.string(), function.capacity.load()});
  }
  return named;
}

srt::WarmList warm_list_of(vmm::Machine& machine, std::vector<srt::WarmDisk> disks) {
  const srt::ReplicaTable& table = *machine.replicas();
  srt::WarmList list{std::move(disks), {}};
  for (srt::BlockRun run : srt::runs_of(srt::used_blocks(table),
                                        {table.budget() / srt::kBlockBytes, table.most_wanted()})) {
    run.disk = static_cast<u16>(run.disk - kFirstDiskFunction);
    const bool fits = run.disk < list.disks.size() &&
                      run.first + run.blocks <= list.disks[run.disk].bytes / srt::kBlockBytes;
    if (fits) list.runs.push_back(run);
  }
  return list;
}

WarmMatch match_warm_list(const srt::WarmList& list, const std::vector<srt::WarmDisk>& disks) {
  WarmMatch match;
  std::vector<std::optional<u16>> functions;
  for (const srt::WarmDisk& listed : list.disks) {
    functions.emplace_back();
    const auto same = std::ranges::find(disks, listed.path, &srt::WarmDisk::path);
    if (same == disks.end()) {
      match.refused.push_back(fmt::format("{} is no disk of this guest", listed.path));
    } else if (same->bytes != listed.bytes) {
      match.refused.push_back(fmt::format("{} had {} bytes when it was listed, and has {}",
                                          listed.path, listed.bytes, same->bytes));
    } else {
      functions.back() = static_cast<u16>(kFirstDiskFunction + (same - disks.begin()));
    }
  }
  for (srt::BlockRun run : list.runs) {
    if (const auto function = functions[run.disk]) {
      run.disk = *function;
      match.runs.push_back(run);
    }
  }
  return match;
}

Result<json> blocks_json(vmm::Machine& machine, const GuestDisks* disks) {
  if (machine.replicas() == nullptr || disks == nullptr)
    return error("srt: the machine has no storage replica table; allowed: with --srt on");
  const srt::WarmList list = warm_list_of(machine, warm_disks(*disks, machine));
  json named = json::array(), runs = json::array();
  for (const srt::WarmDisk& disk : list.disks)
    named.push_back({{"path", disk.path}, {"bytes", disk.bytes}});
  for (const srt::BlockRun& run : list.runs)
    runs.push_back(json::array({run.disk, run.first, run.blocks}));
  return json{
      {"block_bytes", srt::kBlockBytes}, {"disks", std::move(named)}, {"runs", std::move(runs)}};
}

std::string blocks_text(const json& reply) {
  srt::WarmList list;
  for (const json& disk : reply.at("disks"))
    list.disks.push_back({disk.at("path").get<std::string>(), disk.at("bytes").get<u64>()});
  for (const json& run : reply.at("runs"))
    list.runs.push_back({.first = run.at(1), .blocks = run.at(2), .disk = run.at(0)});
  return srt::warm_text(list);
}

}  // namespace dvm::tools
