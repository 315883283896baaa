// The pages of a simulated guest: where each is, and what reaching it costs. As the pager does it
// (docs/coherence.md): to who writes, copies to who reads, shared when the policy says so.
#pragma once

#include <unordered_map>
#include <vector>

#include "hyperkernel/locality/policy.h"
#include "tools/bench/locality_workload.h"

namespace dvm::bench {

struct WorldCounts {
  u64 accesses = 0;
  u64 faults = 0;
  u64 from_elsewhere = 0;  // of these
  u64 shared = 0;          // pages
  u64 samples = 0;
};

class PageWorld {
 public:
  PageWorld(const MemoryWorkload& workload, const locality::CostModel& costs, u64 region_pages,
            locality::Policy& policy);

  // Returns what it costs, in ns.
  double access(const MemoryAccess& access, u16 vcpu, u8 node, u64 now_ns);
  // The node's mapping of the page is taken away.
  void sample(const locality::SampleWish& wish, u64 now_ns);
  const WorldCounts& counts() const { return counts_; }
  // What faults have cost since this was last asked.
  double take_fault_cost();

 private:
  enum class Mode : u8 { home, owned, copied, shared };
  struct Page {
    Mode mode = Mode::home;
    u8 owner = 0;
    u16 copies = 0;
    u16 had = 0;  // nodes that have had it
    float spent_ns = 0;
  };
  bool is_here(const Page& page, u8 node, bool write) const;
  u8 holder(const Page& page, u8 node) const;
  double fault(const MemoryAccess& access, u16 vcpu, u8 node, u64 now_ns);
  static bool is_contended(const Page& page, u8 node, bool write);
  static void take(Page& page, u8 node, bool write);
  double touch_sampled(u32 page, u16 vcpu, u8 node, u64 now_ns);

  const locality::CostModel& costs_;
  locality::Policy& policy_;
  u64 region_left_;
  std::vector<Page> pages_;
  std::unordered_map<u64, u64> sampled_;  // page and node -> when
  WorldCounts counts_;
  double fault_cost_ns_ = 0;
};

}  // namespace dvm::bench
