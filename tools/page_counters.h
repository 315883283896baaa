// What software coherence counts for each node, as status and metrics name it.
#pragma once

#include <array>
#include <string_view>

#include "hyperkernel/coherence_record.h"

namespace dvm::tools {

struct PageCounter {
  std::string_view name, help;
  std::atomic<u64> hyperkernel::PageCounters::*member;
};

inline constexpr std::array<PageCounter, 8> kPageCounters = {{
    {"faults", "Page faults that the node's pager served.", &hyperkernel::PageCounters::faults},
    {"taken", "Pages whose content came from another node: hand-overs.",
     &hyperkernel::PageCounters::taken},
    {"copied", "Read-only copies made.", &hyperkernel::PageCounters::copied},
    {"evicted", "Pages brought home to make room.", &hyperkernel::PageCounters::evicted},
    {"shared", "Pages put into the coherent region.", &hyperkernel::PageCounters::shared},
    {"unshared", "Pages taken out of the coherent region, for room.",
     &hyperkernel::PageCounters::unshared},
    {"recovered", "Pages of dead nodes brought home.", &hyperkernel::PageCounters::recovered},
    {"lost", "Pages of dead nodes whose content could not be reached.",
     &hyperkernel::PageCounters::lost},
}};

inline u64 page_counter(const hyperkernel::Coherence& coherence, u32 node, const PageCounter& c) {
  return (coherence.node(node).counters.*c.member).load(std::memory_order_relaxed);
}

}  // namespace dvm::tools
