// What leaves a full coherent region: the coldest, found by a clock.
//
// The hand passes groups of frames. What it passes is guarded in every node, so that the next write
// faults there, and maps the group again, which is noted. What it passes again goes home if it was
// not mapped by two nodes since: reading alone needs no shared frame, and one writer is better off
// as its owner. What does change hands stays, and is guarded again.
//
// In and out is dear, so it is not done lightly. The hand turns only for a page that has paid more
// for a place than others do (SharePolicy::wants_room), not for guesses; at most once per tick, and
// what it takes out has gone unused by two for a tick at least; and what has left has to pay anew.
#pragma once

#include "hyperkernel/page_mover.h"

namespace dvm::hyperkernel {

// One for each node. Threads: one at a time. Holds nothing of the pool but while a page moves, so
// it may die anywhere.
class RegionClock {
 public:
  RegionClock(const PageDirectory& directory, const Coherence& coherence, PageMover& mover)
      : directory_(&directory), coherence_(&coherence), mover_(&mover) {}

  // Passes as many groups as one turn may, until `wanted` frames have become free. Returns how many
  // did.
  Result<u64> turn(u64 wanted);

 private:
  std::vector<PageRun> runs_of(u64 group) const;
  Result<u64> pass(u64 group);

  const PageDirectory* directory_;
  const Coherence* coherence_;
  PageMover* mover_;
  u64 hand_ = 0;
};

}  // namespace dvm::hyperkernel
