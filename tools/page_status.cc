#include "tools/page_status.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <bit>
#include <nlohmann/json.hpp>

#include "hyperkernel/coherence_record.h"
#include "hyperkernel/page_directory.h"
#include "tools/page_counters.h"
#include "vmm/coherent_memory.h"
#include "vmm/net/net_device.h"

namespace dvm::tools {

using hyperkernel::PageMode;
using nlohmann::json;
using vmm::Machine;

namespace {

std::optional<hyperkernel::Coherence> software_coherence(Machine& machine) {
  if (!machine.has_software_coherence()) return std::nullopt;
  auto found = hyperkernel::Coherence::of(machine.pool());
  if (!found.ok()) return std::nullopt;
  return found.take();
}

// What its frames take on this host. Nothing: it has none, or its process does not let us look.
std::optional<u64> local_memory_used(const hyperkernel::NodeRecordOfMemory& node) {
  if (node.instance.load(std::memory_order_acquire) == 0) return std::nullopt;
  struct stat file {};
  const auto path = fmt::format("/proc/{}/fd/{}", node.pid.load(), node.file.load());
  if (::stat(path.c_str(), &file) != 0) return std::nullopt;
  return static_cast<u64>(file.st_blocks) * 512;
}

json member_json(Machine& machine, const PageCounts& pages, u32 member) {
  json j = {{"pages", page_counts_json(pages, member)}, {"moves", moves_json(machine, member)}};
  j["local_memory_used"] = nullptr;
  if (const auto software = software_coherence(machine)) {
    if (const auto used = local_memory_used(software->node(member))) j["local_memory_used"] = *used;
  }
  return j;
}

}  // namespace

PageCounts count_pages(const fabric::Pool& pool) {
  PageCounts counts;
  const auto directory = hyperkernel::PageDirectory::of(pool);
  if (!directory) return counts;
  if (!directory->has_changed()) {
    counts.shared = directory->pages();
    return counts;
  }
  for (u64 i = 0; i < directory->pages(); ++i) {
    const auto entry = directory->lookup(i);
    if (!entry) continue;
    if (entry->mode == PageMode::shared) {
      ++counts.shared;
      continue;
    }
    if (entry->mode == PageMode::replicated && entry->nodes == 0) ++counts.at_home;
    auto& of_nodes = entry->mode == PageMode::owned ? counts.owned : counts.replicated;
    for (u32 nodes = entry->nodes; nodes != 0; nodes &= nodes - 1)
      ++of_nodes[static_cast<u32>(std::countr_zero(nodes))];
  }
  return counts;
}

json page_counts_json(const PageCounts& pages, u32 member) {
  return {{"owned", pages.owned[member]},
          {"replicated", pages.replicated[member]},
          {"shared", pages.shared}};
}

json moves_json(Machine& machine, u32 member) {
  const auto software = software_coherence(machine);
  if (!software) return nullptr;
  json moves = json::object();
  for (const auto& c : kPageCounters)
    moves[std::string(c.name)] = page_counter(*software, member, c);
  return moves;
}

json coherence_json(Machine& machine, const PageCounts& pages) {
  const auto software = software_coherence(machine);
  if (!software) return {{"mode", "shared"}};
  u64 hand_overs = 0;
  for (u32 n = 0; n < hyperkernel::kMaxNodes; ++n) hand_overs += software->node(n).counters.taken;
  return {{"mode", "software"},
          {"hand_overs", hand_overs},
          {"pages_at_home", pages.at_home},
          {"coherent_memory", software->shared_frames() * kPageBytes},
          {"coherent_memory_used", software->frames_in_use() * kPageBytes},
          {"local_memory", software->local_pages() == 0 ? machine.config().memory_bytes
                                                        : software->local_pages() * kPageBytes}};
}

json pages_json(Machine& machine) {
  const PageCounts pages = count_pages(machine.pool());
  json members = json::array();
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    if (machine.state().nodes[n].stage.load() == vmm::NodeStage::none) continue;
    members.push_back(member_json(machine, pages, n));
    members.back()["name"] = fmt::format("node {}", n);
  }
  if (machine.has_software_coherence() && vmm::find_net_function(machine.config())) {
    members.push_back(member_json(machine, pages, vmm::net_member()));
    members.back()["name"] = "net";
  }
  return {{"coherence", coherence_json(machine, pages)},
          {"shared", pages.shared},
          {"members", std::move(members)}};
}

}  // namespace dvm::tools
