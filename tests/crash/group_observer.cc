#include "tests/crash/group_observer.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT: the subject of all of this

namespace {

// Whether a life may go on from one state to another.
bool follows(MemberState before, MemberState now) {
  switch (now) {
    case MemberState::joined:
      return before == MemberState::none || before == MemberState::left ||
             before == MemberState::recovered;
    case MemberState::left:
    case MemberState::died: return before == MemberState::joined;
    case MemberState::recovered: return before == MemberState::died;
    case MemberState::none: break;
  }
  return false;
}

}  // namespace

Status GroupObserver::join(Policy policy) {
  DVM_TRY(membership_.join(policy));
  // The group as it is now is where this member starts from.
  const auto now = membership_.catch_up();
  take_over(now.view);
  for (Life& life : lives_) life.last_death = 0;
  return {};
}

void GroupObserver::take_over(const GroupView& view) {
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const auto& m = view.members[id];
    lives_[id].who = m.who;
    lives_[id].state = m.state;
    lives_[id].deaths = m.deaths;
  }
  last_ = view.as_of;
}

std::string GroupObserver::take_in() {
  std::array<Notification, 32> heard;
  for (;;) {
    const auto result = membership_.read(heard);
    for (u32 i = 0; i < result.count; ++i) {
      if (std::string wrong = hear(heard[i]); !wrong.empty()) return wrong;
    }
    if (result.overflowed) {
      if (std::string wrong = catch_up(); !wrong.empty()) return wrong;
    } else if (result.count == 0) {
      return {};
    }
  }
}

std::string GroupObserver::catch_up() {
  const auto now = membership_.catch_up();
  u64 before = last_;
  for (const Notification& n : now.deaths) {
    if (n.sequence <= before || n.sequence > now.view.as_of) {
      return fmt::format("caught up to {}: a death at {} after {}", now.view.as_of, n.sequence,
                         before);
    }
    before = n.sequence;
    if (std::string wrong = hear_death(n); !wrong.empty()) return wrong;
  }
  for (u32 id = 0; id < kMaxInstances; ++id) {
    if (now.view.members[id].deaths != lives_[id].deaths) {
      return fmt::format("caught up to {}: {} deaths of {}, {} were heard of", now.view.as_of,
                         now.view.members[id].deaths, id, lives_[id].deaths);
    }
  }
  take_over(now.view);
  return {};
}

std::string GroupObserver::hear_death(const Notification& n) {
  Life& life = lives_[n.who.id];
  if (!instances_.is_stale(n.who))
    return fmt::format("instance {}.{} is said to be dead and is not", n.who.id, n.who.generation);
  if (n.who.generation <= life.last_death)
    return fmt::format("instance {}.{} died after {}", n.who.id, n.who.generation, life.last_death);
  if (n.deaths != life.deaths + 1) {
    return fmt::format("instance {}.{}: death {} after {}: lost", n.who.id, n.who.generation,
                       n.deaths, life.deaths);
  }
  life.last_death = n.who.generation;
  life.deaths = n.deaths;
  return {};
}

std::string GroupObserver::hear(const Notification& n) {
  if (n.who.id >= kMaxInstances) return fmt::format("notification {} of nobody", n.sequence);
  if (n.sequence != last_ + 1) return fmt::format("notification {} after {}", n.sequence, last_);
  last_ = n.sequence;
  Life& life = lives_[n.who.id];
  if (!follows(life.state, n.kind) || (n.kind != MemberState::joined && n.who != life.who)) {
    return fmt::format("notification {}: {}.{} goes from {} (as {}.{}) to {}", n.sequence, n.who.id,
                       n.who.generation, static_cast<u32>(life.state), life.who.id,
                       life.who.generation, static_cast<u32>(n.kind));
  }
  if (n.kind == MemberState::died) {
    if (std::string wrong = hear_death(n); !wrong.empty()) return wrong;
  } else if (n.deaths != life.deaths) {
    return fmt::format("notification {}: {} deaths of {}, {} were heard of", n.sequence, n.deaths,
                       n.who.id, life.deaths);
  }
  life.who = n.who;
  life.state = n.kind;
  return {};
}

}  // namespace dvm::crash
