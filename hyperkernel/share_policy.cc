#include "hyperkernel/share_policy.h"

#include <algorithm>

namespace dvm::hyperkernel {
namespace {

bool as_good_as_full(RegionUse use) { return 16 * use.taken >= 15 * use.frames; }

}  // namespace

// The work is done here once, and then each other node maps the page, which is a fault there: about
// a hand-over.
u64 SharePolicy::price_ns(RegionUse use) const {
  const u64 work = (shared_ns_ == 0 ? hand_over_ns_ : shared_ns_) + hand_over_ns_;
  if (2 * use.taken < use.frames) return work;
  return as_good_as_full(use) ? 4 * work : 2 * work;
}

bool SharePolicy::wants_room(u64 spent_ns, RegionUse use) const {
  return use.frames != 0 && as_good_as_full(use) && spent_ns != 0 && spent_ns >= price_ns(use);
}

u64 SharePolicy::room_wanted(RegionUse use) const {
  return use.taken - std::min(use.taken, (15 * use.frames + 15) / 16 - 1);
}

// Halved with each quarter that is taken; the last eighth is for what has shown that it is worth
// it.
u64 SharePolicy::block_now(RegionUse use) const {
  return 8 * use.taken < 7 * use.frames ? block_ >> (4 * use.taken / use.frames) : 0;
}

u64 SharePolicy::pages_to_share(bool writes, u64 spent_ns, RegionUse use) const {
  if (use.taken >= use.frames) return 0;
  if (const u64 block = block_now(use); writes && block != 0) return block;
  return spent_ns != 0 && spent_ns >= price_ns(use) ? 1 : 0;
}

}  // namespace dvm::hyperkernel
