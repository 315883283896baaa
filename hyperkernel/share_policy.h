// When a page goes into the coherent region, and how many of its neighbours with it. Pure.
//
// A page that two nodes write changes hands for ever, or is shared once and then costs no fault.
// What the first will come to nobody knows, so it is the ski rental problem: share when the
// hand-overs of a page have cost what sharing it costs, and never pay more than twice the best.
// What sharing costs is the work, measured here, and the room: what is in the region keeps others
// out. So the price is twice as high in a region that is half full. As long as there is plenty of
// room, guessing costs little: then the first contended write is enough, and neighbours go along,
// fewer with each quarter that is taken, because what allocators hand out side by side is used by
// the same nodes.
#pragma once

#include "fabric/types.h"

namespace dvm::hyperkernel {

struct RegionUse {
  u64 frames = 0;
  u64 taken = 0;
};

// Of one thread.
class SharePolicy {
 public:
  // `block`: pages, a power of two, that go together in an empty region. 0: only ever the one that
  // has cost enough.
  explicit SharePolicy(u64 block) : block_(block) {}

  // A page came from another node, and what that took.
  void note_hand_over(u64 ns) { hand_over_ns_ = mean(hand_over_ns_, ns); }
  // So many pages were shared at once, and what that took.
  void note_shared(u64 pages, u64 ns) {
    if (pages != 0) shared_ns_ = mean(shared_ns_, ns / pages);
  }

  // How many pages are to be shared now, aligned to as many: 0, 1 or a block. `spent_ns`: what the
  // page's coming from elsewhere has cost before.
  u64 pages_to_share(bool writes, u64 spent_ns, RegionUse use) const;
  // How many go at a first contended write; 0: none.
  u64 block_now(RegionUse use) const;
  // What sharing one more page costs: the work; twice that in the second half of the region; and
  // twice again where it drives another out, which may come back.
  u64 price_ns(RegionUse use) const;
  // Whether a page that has cost as much is worth that the coldest leave. Only when the region is
  // as good as full: between that and the last place for a guess there is room that neither takes.
  bool wants_room(u64 spent_ns, RegionUse use) const;
  // How many frames are to become free then.
  u64 room_wanted(RegionUse use) const;

 private:
  static u64 mean(u64 before, u64 ns) { return before == 0 ? ns : before - before / 8 + ns / 8; }

  u64 block_;
  u64 hand_over_ns_ = 0, shared_ns_ = 0;
};

}  // namespace dvm::hyperkernel
