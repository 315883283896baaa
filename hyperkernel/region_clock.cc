#include "hyperkernel/region_clock.h"

#include <algorithm>
#include <bit>

namespace dvm::hyperkernel {
namespace {

constexpr u64 kGroupsATurn = 64;

}  // namespace

Result<u64> RegionClock::turn(u64 wanted) {
  const u64 groups = coherence_->frame_groups();
  u64 freed = 0;
  for (u64 i = 0; i < std::min(groups, kGroupsATurn) && freed < wanted; ++i) {
    DVM_ASSIGN(const u64 more, pass(hand_++ % groups));
    freed += more;
  }
  return freed;
}

// Pages of these frames, those side by side together, that nobody is moving.
std::vector<PageRun> RegionClock::runs_of(u64 group) const {
  std::vector<PageRun> runs;
  for (const u64 page : coherence_->pages_of_group(group)) {
    const auto entry = directory_->lookup(page);
    if (!entry || entry->mode != PageMode::shared || entry->mover != 0) continue;
    if (runs.empty() || runs.back().first + runs.back().count != page) runs.push_back({page, 0});
    ++runs.back().count;
  }
  return runs;
}

Result<u64> RegionClock::pass(u64 group) {
  const auto runs = runs_of(group);
  if (runs.empty()) return 0;
  const u32 noted = coherence_->pass(group);
  const bool cold = (noted & FrameUse::kPassed) != 0 && std::popcount(noted & 0xffffu) < 2;
  u64 freed = 0;
  for (const PageRun& run : runs) {
    // Before any page is held: where the pool's file cannot be watched (a disk, a device), or a
    // node cannot be reached yet, nothing leaves, and nothing is lost.
    if (!mover_->guard(run).ok()) return freed;
    if (!cold) continue;
    DVM_ASSIGN(const bool gone, mover_->move(run, Want::unshare));
    freed += gone ? run.count : 0;
  }
  return freed;
}

}  // namespace dvm::hyperkernel
