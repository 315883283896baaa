// The coherence protocol of a page, pure: who wants something of it goes through a Transition,
// which says one act at a time and is told what came of it. Real nodes carry the acts out by
// userfaultfd (node_memory.h); tests, in a world of their own.
//
// The node that wants does all the work, holding the entry as its mover. What makes that survive:
//
// 1. Where the content is. At every moment the entry without its mover tells it: shared, in the
//    frame; replicated, in the frame (home); owned, in the owner's copy, or at home if it has none.
//    So a mover may die anywhere: the next one takes its place and starts from the entry.
// 2. Single writer or many readers. A copy is writable only at the owner, and only when every other
//    copy is gone: `claim` comes after the last discard, `install` after the claim. A copy that can
//    be read is in `nodes` or its node is the mover, before the copy is there. A page goes straight
//    from its owner's copy to the frame it is shared in: the claim names that frame while the
//    copies are still there, and who comes after a dead mover discards them first, as nobody has
//    mapped the frame yet. A page that leaves its frame goes home first, while nobody can write
//    to it; then the entry names the home, and only then the frame is taken from all who read it.
//    Who comes after a dead mover takes such frames from everybody before it does anything else.
// 3. Nobody waits for a node that is dead or hung longer than the fabric needs to fence it.
//    Where a node runs no vCPU and no device work of this guest it is not waited for at all: its
//    read-only copy is marked, and it discards what is marked before it runs anything (after Apta).
#pragma once

#include <array>

#include "hyperkernel/page_directory.h"

namespace dvm::hyperkernel {

enum class Want : u8 {
  read,     // a copy here
  write,    // the page here, writable, and nowhere else
  evict,    // no copy at `subject`; what it wrote is at home
  share,    // the page in a frame of the coherent region, and no copies
  unshare,  // the page at home, and its frame free
};

enum class ActKind : u8 {
  look,           // load the entry                                            -> seen
  swap,           // compare-and-swap the entry, expected to desired           -> ok, or seen
  await,          // `node` is the mover. Until the entry is another   -> not ok, or
                  // until it is certain that `node` has stopped               -> ok
  protect,        // from here on nothing at `node` writes to its copy
  write_back,     // the copy of `node`, if it has one, to the page's home, and out of the caches
  mark,           // `node` is to discard its copy before it runs anything     -> ok, or it runs
  discard,        // `node` has no copy from here on, nor any mapping of one
  install_read,   // here: map our copy, which is made from home if there is none; no writes
  install_write,  // as install_read, with writes
  map_shared,     // here: map the frame itself
  take_frame,     // a frame of the coherent region             -> ok and `frame`, or there is none
  fill_frame,     // to that frame, from the copy of `node` if it is one and has one, else from home
  guard_frame,    // the entry's frame: from here on no node writes to it nor maps it anew by itself
  empty_frame,  // its content to the page's home, and out of the caches -> ok and `frame`: the home
  drop_frame,   // expected.frame, which the entry named: nobody maps it, and it is free
  drop_strays,  // the same for all that were taken for this page and are not the entry's
  done,         // it is over; `granted()` says how
};
inline constexpr std::size_t kActKinds = 17;
inline constexpr u32 kFromHome = kMaxNodes;  // of fill_frame

struct Act {
  ActKind kind = ActKind::done;
  u32 node = 0;
  DirEntry expected, desired;  // of swap; expected.frame of drop_frame
};

struct Answer {
  bool ok = true;
  DirEntry seen;
  u64 frame = 0;
};

// One attempt of one node at one page. Threads: one at a time.
class Transition {
 public:
  // `subject` is looked at by Want::evict only: any node, the dead included.
  Transition(Want want, u32 self, u32 subject)
      : want_(want), self_(static_cast<u8>(self)), subject_(static_cast<u8>(subject)) {}
  Transition(Want want, u32 self) : Transition(want, self, self) {}

  // What to do now. `answer` is that of the act before; the first call ignores it.
  Act next(const Answer& answer);

  // After `done`: whether the page is as wanted. False: the entry is damaged, or no frame was left.
  bool granted() const { return granted_; }
  // The entry as this node holds it, from the first swap on.
  const DirEntry& entry() const { return entry_; }
  u64 new_frame() const { return frame_; }
  Want want() const { return want_; }
  // All of it in two words, for who explores or compares.
  std::array<u64, 2> digest() const;

 private:
  enum class Phase : u8 {
    start,
    looking,
    awaiting,
    taking,
    clearing,
    framing,
    protecting,
    writing_back,
    marking,
    discarding,
    claiming,
    installing,
    filling,
    guarding,
    emptying,
    dropping,
    releasing,
    over,
  };
  Act consider(const DirEntry& seen);
  Act swap_to(Phase phase, const DirEntry& desired);
  Act at(Phase phase, ActKind kind, u32 node = 0);
  Act prepare();       // a frame, if one is needed
  Act take_content();  // from the owner, if it is not to stay there
  Act invalidate();    // the next of the copies that have to go
  Act claim_frame();
  Act claim_home(u64 home);
  Act drop_frame();
  Act finish();  // install
  Act install();
  Act release();
  Act end(bool granted);
  bool content_moves() const;
  NodeSet unwanted_copies() const;
  DirEntry result() const;

  Want want_;
  u8 self_, subject_;
  Phase phase_ = Phase::start;
  NodeSet victims_ = 0;
  bool granted_ = false;
  bool after_dead_ = false;  // took a dead mover's place
  u64 frame_ = 0;            // the one that is entered, or left
  DirEntry entry_, desired_;
};

}  // namespace dvm::hyperkernel
