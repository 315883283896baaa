#include "hyperkernel/share_policy.h"

namespace dvm::hyperkernel {

// The work is done here once, and then each other node maps the page, which is a fault there: about
// a hand-over.
u64 SharePolicy::price_ns(RegionUse use) const {
  if (use.taken >= use.frames) return ~0ull;
  const u64 work = (shared_ns_ == 0 ? hand_over_ns_ : shared_ns_) + hand_over_ns_;
  return work << (4 * use.taken / use.frames);
}

u64 SharePolicy::pages_to_share(bool writes, u64 spent_ns, RegionUse use) const {
  if (use.taken >= use.frames) return 0;
  if (block_ != 0 && writes && 8 * use.taken < 7 * use.frames) return block_;
  return spent_ns != 0 && spent_ns >= price_ns(use) ? 1 : 0;
}

}  // namespace dvm::hyperkernel
