// Where a guest's pages are and what moved them, as `dvm-ctl pages` and `dvm-ctl status` show it.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>

#include "vmm/machine.h"

namespace dvm::tools {

struct PageCounts {
  u64 shared = 0;
  u64 at_home = 0;  // nobody has a copy
  // By members of page coherence: nodes, and dvm-net behind them.
  std::array<u64, hyperkernel::kMaxNodes> owned{}, replicated{};
};

// One pass over the directory: a nanosecond a page.
PageCounts count_pages(const fabric::Pool& pool);
// {"owned": …, "replicated": …, "shared": …}, the last of all nodes.
nlohmann::json page_counts_json(const PageCounts& pages, u32 member);
// What the member's pager has done since it started; null with hardware coherence.
nlohmann::json moves_json(vmm::Machine& machine, u32 member);
nlohmann::json coherence_json(vmm::Machine& machine, const PageCounts& pages);

// All of it for each member that is there, with the local memory that it uses.
nlohmann::json pages_json(vmm::Machine& machine);

}  // namespace dvm::tools
