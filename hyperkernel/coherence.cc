#include "hyperkernel/coherence.h"

#include <bit>

namespace dvm::hyperkernel {

Act Transition::next(const Answer& answer) {
  switch (phase_) {
    case Phase::start: return at(Phase::looking, ActKind::look);
    case Phase::looking: return consider(answer.seen);
    case Phase::awaiting: {
      if (!answer.ok) return at(Phase::looking, ActKind::look);
      // The dead mover's place is taken. Whatever it had done, the entry is right without it.
      after_dead_ = true;
      DirEntry ours = entry_;
      ours.mover = static_cast<u8>(self_ + 1);
      return swap_to(Phase::taking, ours);
    }
    case Phase::taking:
      if (!answer.ok) return consider(answer.seen);
      entry_ = desired_;
      // It may have been putting the page into a frame, or taking it out of one.
      return after_dead_ ? at(Phase::clearing, ActKind::drop_strays) : prepare();
    case Phase::clearing: return prepare();
    case Phase::framing:
      if (!answer.ok) {
        granted_ = false;
        return release();
      }
      frame_ = answer.frame;
      return take_content();
    case Phase::protecting: {
      const auto owner = static_cast<u32>(std::countr_zero(entry_.nodes));
      return want_ == Want::share ? at(Phase::filling, ActKind::fill_frame, owner)
                                  : at(Phase::writing_back, ActKind::write_back, owner);
    }
    case Phase::writing_back: return invalidate();
    case Phase::marking:
      if (answer.ok) {
        victims_ = static_cast<NodeSet>(victims_ & (victims_ - 1));
        return invalidate();
      }
      return at(Phase::discarding, ActKind::discard, static_cast<u32>(std::countr_zero(victims_)));
    case Phase::discarding:
      victims_ = static_cast<NodeSet>(victims_ & (victims_ - 1));
      return invalidate();
    case Phase::claiming:
      if (!answer.ok) return end(false);
      entry_ = desired_;
      if (want_ == Want::unshare) return drop_frame();
      return want_ == Want::share ? invalidate() : install();
    case Phase::filling: return claim_frame();
    case Phase::guarding: return at(Phase::emptying, ActKind::empty_frame);
    case Phase::emptying:
      if (!answer.ok) return release();
      frame_ = entry_.frame;
      return claim_home(answer.frame);
    case Phase::dropping: granted_ = true; return release();
    case Phase::installing: granted_ = true; return release();
    case Phase::releasing: return end(answer.ok && granted_);
    case Phase::over: break;
  }
  return end(granted_);
}

Act Transition::consider(const DirEntry& seen) {
  entry_ = seen;
  if (!seen.sound()) return end(false);
  if (want_ == Want::evict && (seen.nodes & only(subject_)) == 0 && seen.mover != subject_ + 1)
    return end(true);
  if (want_ == Want::share && seen.mode == PageMode::shared) return end(true);
  if (want_ == Want::unshare && seen.mode != PageMode::shared) return end(true);
  if (seen.mover != 0) return at(Phase::awaiting, ActKind::await, seen.mover - 1u);
  DirEntry ours = seen;
  ours.mover = static_cast<u8>(self_ + 1);
  return swap_to(Phase::taking, ours);
}

Act Transition::prepare() {
  victims_ = unwanted_copies();
  if (want_ == Want::share && entry_.mode != PageMode::shared)
    return at(Phase::framing, ActKind::take_frame);
  return take_content();
}

Act Transition::take_content() {
  const bool moves = content_moves();
  if (!moves && want_ == Want::share && entry_.mode != PageMode::shared)
    return at(Phase::filling, ActKind::fill_frame, kFromHome);
  if (!moves) return invalidate();
  return at(Phase::protecting, ActKind::protect, static_cast<u32>(std::countr_zero(entry_.nodes)));
}

// The owner's copy stays where it is when the owner itself wants it.
bool Transition::content_moves() const {
  if (entry_.mode != PageMode::owned) return false;
  if (want_ == Want::unshare) return false;
  if (want_ == Want::share || want_ == Want::evict) return victims_ != 0;
  return entry_.nodes != only(self_);
}

NodeSet Transition::unwanted_copies() const {
  if (entry_.mode == PageMode::shared) return entry_.nodes;  // of a mover that died
  switch (want_) {
    case Want::read: return 0;
    case Want::write: return static_cast<NodeSet>(entry_.nodes & ~only(self_));
    case Want::evict: return static_cast<NodeSet>(entry_.nodes & only(subject_));
    case Want::share: return entry_.nodes;
    case Want::unshare: return 0;
  }
  return 0;
}

// A read-only copy may be left to its node if that runs nothing; the owner's has to go now, because
// a dead mover's entry would still name the owner, and lead to it.
Act Transition::invalidate() {
  if (victims_ == 0) return finish();
  const auto node = static_cast<u32>(std::countr_zero(victims_));
  const bool clean = entry_.mode != PageMode::owned;
  if (clean && node != self_ && want_ != Want::evict)
    return at(Phase::marking, ActKind::mark, node);
  return at(Phase::discarding, ActKind::discard, node);
}

// The frame holds from here on.
Act Transition::claim_frame() {
  DirEntry ours = entry_;
  ours.mode = PageMode::shared;
  ours.frame = frame_;
  return swap_to(Phase::claiming, ours);
}

// The home holds from here on. Who reads the frame still reads the same.
Act Transition::claim_home(u64 home) {
  DirEntry ours = entry_;
  ours.mode = PageMode::replicated;
  ours.nodes = 0;
  ours.frame = home;
  return swap_to(Phase::claiming, ours);
}

Act Transition::drop_frame() {
  Act act = at(Phase::dropping, ActKind::drop_frame);
  act.expected.frame = frame_;
  return act;
}

Act Transition::finish() {
  // By now of no other mode, as only movers change it.
  if (want_ == Want::unshare) {
    if (entry_.mode == PageMode::shared) return at(Phase::guarding, ActKind::guard_frame);
    granted_ = true;
    return release();
  }
  if (want_ == Want::evict || want_ == Want::share) {
    granted_ = true;
    return release();
  }
  const bool claim = want_ == Want::write && entry_.mode == PageMode::replicated;
  const bool take =
      want_ == Want::write && entry_.mode == PageMode::owned && !entry_.owned_by(self_);
  if (!claim && !take) return install();
  DirEntry ours = entry_;
  ours.mode = PageMode::owned;
  ours.nodes = only(self_);
  return swap_to(Phase::claiming, ours);
}

Act Transition::install() {
  if (entry_.mode == PageMode::shared) return at(Phase::installing, ActKind::map_shared);
  return at(Phase::installing,
            entry_.owned_by(self_) ? ActKind::install_write : ActKind::install_read);
}

Act Transition::release() { return swap_to(Phase::releasing, result()); }

// What the entry becomes. Without what was wanted, it stays as it was taken.
DirEntry Transition::result() const {
  DirEntry e = entry_;
  e.mover = 0;
  if (e.mode == PageMode::shared) e.nodes = 0;
  if (!granted_ || e.mode == PageMode::shared) return e;
  switch (want_) {
    case Want::read:
      if (e.owned_by(self_)) return e;
      e.mode = PageMode::replicated;
      e.nodes = static_cast<NodeSet>(e.nodes | only(self_));
      return e;
    case Want::write: return e;  // as claimed
    case Want::evict:
      e.mode = e.nodes == only(subject_) ? PageMode::replicated : e.mode;
      e.nodes = static_cast<NodeSet>(e.nodes & ~only(subject_));
      return e;
    case Want::share:
    case Want::unshare: return e;  // as claimed
  }
  return e;
}

Act Transition::at(Phase phase, ActKind kind, u32 node) {
  phase_ = phase;
  return {.kind = kind, .node = node};
}

Act Transition::swap_to(Phase phase, const DirEntry& desired) {
  phase_ = phase;
  desired_ = desired;
  return {.kind = ActKind::swap, .node = self_, .expected = entry_, .desired = desired};
}

Act Transition::end(bool granted) {
  phase_ = Phase::over;
  granted_ = granted;
  return {.kind = ActKind::done};
}

std::array<u64, 2> Transition::digest() const {
  return {entry_.packed(),
          desired_.packed() * 31 + frame_ * 0x9e3779b97f4a7c15ull +
              (static_cast<u64>(want_) | static_cast<u64>(self_) << 4 |
               static_cast<u64>(subject_) << 12 | static_cast<u64>(phase_) << 20 |
               static_cast<u64>(victims_) << 32 | static_cast<u64>(granted_) << 50 |
               static_cast<u64>(after_dead_) << 51)};
}

}  // namespace dvm::hyperkernel
