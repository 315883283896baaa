// The control groups of the world, and whether its dead were buried as they should.
#include "tests/crash/worker.h"
#include "tests/crash/world.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT

void World::observe_as(InstanceId survivor) {
  observers_.clear();
  for (u32 g = 0; g < kGroups; ++g) {
    observers_.emplace_back(fabric_->groups[g], survivor, *instances_);
    if (const Status joined = observers_.back().join({}); !joined.ok())
      complain(joined.error().message);
  }
}

// The generation is retired here already: nobody else takes a lock over while the manager, a worker
// like the others, waits for it.
void World::fence(InstanceId who) {
  begin_failure(fabric_->failures, *instances_, who, FailureCause::died);
  advance(fabric_->failures, who, FailureStage::suspect, FailureStage::fenced);
  instances_->retire(who, InstanceState::fenced);
}

bool World::is_over(u32 id) const { return !look(fabric_->failures[id]).unfinished(); }

// What the dead one said last about its membership decides: a member's death is told, and recovered
// from; that of one who is none is not; between the two, either.
void World::check_burial(u32 id, std::vector<std::string>& found) {
  const FailureWord failure = look(fabric_->failures[id]);
  const InstanceId who{id, failure.generation};
  const auto complain_of = [&](u32 group, const char* what) {
    found.push_back(fmt::format("instance {}.{}, group {}: {}", id, who.generation, group, what));
  };
  if (failure.stage != FailureStage::dead) complain_of(0, "its failure is not over");
  for (u32 g = 0; g <= kGroups; ++g) {
    const u64 intent = record_->intents[g][id].word.load();
    const bool must = intent == GroupIntent::pack(who, Intent::joined);
    const bool may = intent == GroupIntent::pack(who, Intent::joining) ||
                     intent == GroupIntent::pack(who, Intent::leaving);
    const MemberRecord& m = fabric_->groups[g].members[id];
    const bool of_this_life = m.generation == who.generation;
    const bool told = of_this_life && m.state == MemberState::recovered;
    if (of_this_life && !told && m.state != MemberState::left) complain_of(g, "is still a member");
    if (must && !told) complain_of(g, "a member's death was not told");
    if (!must && !may && told) complain_of(g, "the death of one who had left was told");
    if (must && asks_for_own_routine(who) &&
        record_->burials[id].ran_for[kOwnRoutine].load() != who.packed())
      complain_of(g, "its own routine did not run");
    if (g >= observers_.size()) continue;
    if (std::string wrong = observers_[g].take_in(); !wrong.empty()) found.push_back(wrong);
    if ((observers_[g].last_death(id) == who.generation) != told)
      complain_of(g, told ? "its death was not heard of" : "its death was heard of, not told");
  }
}

// Nothing is left to be read, so what was heard is what there is.
void World::check_heard(u32 g, std::vector<std::string>& found) {
  if (std::string wrong = observers_[g].take_in(); !wrong.empty())
    found.push_back(fmt::format("group {}: {}", g, wrong));
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const MemberState there = fabric_->groups[g].members[id].state;
    if (there == observers_[g].state(id)) continue;
    found.push_back(fmt::format("group {}: instance {} is in state {}, {} was heard of", g, id,
                                static_cast<u32>(there),
                                static_cast<u32>(observers_[g].state(id))));
  }
}

void World::check_groups(std::vector<std::string>& found) {
  for (u32 g = 0; g <= kGroups; ++g) {
    Group& group = fabric_->groups[g];
    if (group.lock.owner.load() != 0 || group.armed.load() != 0) {
      found.push_back(fmt::format("group {}: lock {:#x}, change {} under way", g,
                                  group.lock.owner.load(), group.armed.load()));
    }
    const u64 tail = group.tail.load();
    for (u64 s = tail > Group::kLog ? tail - Group::kLog + 1 : 1; s <= tail; ++s) {
      if (group.log[s % Group::kLog].sequence.load() != s)
        found.push_back(fmt::format("group {}: notification {} of {} is missing", g, s, tail));
    }
    for (u32 id = 0; id < kMaxInstances; ++id) {
      const MemberRecord& m = group.members[id];
      const bool stale = instances_->is_stale({id, m.generation});
      if (m.state == MemberState::died || (m.state == MemberState::joined && stale))
        found.push_back(fmt::format("group {}: {}.{} is still there", g, id, m.generation));
    }
    if (g < observers_.size()) check_heard(g, found);
  }
}

}  // namespace dvm::crash
