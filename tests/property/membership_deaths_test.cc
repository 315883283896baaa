// Processes join and leave a group at random and are killed at random points of it, while the test
// buries them. Whatever the order: no gap, no loss, nothing twice, and the slow reader knows as
// much as the quick one. DVM_SEED and DVM_ROUNDS choose the campaign; a failure prints its seed.
#include <cstdlib>
#include <random>
#include <set>

#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

u32 environment(const char* name, u32 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? static_cast<u32>(std::strtoul(text, nullptr, 10)) : otherwise;
}

u32 below(std::mt19937& random, u32 n) { return static_cast<u32>(random() % n); }

class MembershipDeathsTest : public FabricTest {
 protected:
  static constexpr u32 kFirst = 1, kMembers = 3;

  void SetUp() override {
    FabricTest::SetUp();
    quick_.emplace(everyone(), instances().join(kObserver, 0), instances());
    slow_.emplace(everyone(), instances().join(kObserver + 2, 0), instances());
    ASSERT_TRUE(slow_->join({}).ok());
    ASSERT_TRUE(quick_->join({}).ok());
  }

  // Joins and leaves for as long as it lives.
  pid_t fork_restless(u32 id) {
    return fork_as(id, [this](InstanceId self) {
      Membership group(everyone(), self, instances());
      std::array<Notification, 32> heard;
      for (u64 n = 0;; ++n) {
        world_->scratch[self.id].store(n + 1);  // the attempt that is under way
        if (!group.join({}).ok()) continue;
        if (group.read(heard).overflowed) group.catch_up();
        if (!group.leave().ok()) ::_exit(1);
      }
    });
  }

  void take_in(Membership& reader, std::vector<Notification>& deaths) {
    std::array<Notification, 64> heard;
    for (;;) {
      const auto result = reader.read(heard);
      if (result.overflowed) {
        for (const Notification& n : reader.catch_up().deaths) deaths.push_back(n);
        continue;
      }
      for (u32 i = 0; i < result.count; ++i) {
        check_order(reader, heard[i]);
        if (heard[i].kind == MemberState::died) deaths.push_back(heard[i]);
      }
      if (result.count == 0) return;
    }
  }

  // Every life in the group is joined, then left or died (then recovered).
  void check_order(Membership& reader, const Notification& n) {
    if (&reader != &*quick_) return;
    if (last_ != 0 && n.sequence != last_ + 1) lives_.clear();  // it was overtaken
    last_ = n.sequence;
    const auto it = lives_.find(n.who.id);
    if (it != lives_.end()) {
      const Notification& before = it->second;
      const bool starts = n.kind == MemberState::joined;
      const bool was_over =
          before.kind == MemberState::left || before.kind == MemberState::recovered;
      EXPECT_EQ(starts, was_over);
      EXPECT_TRUE(starts || n.who == before.who);
      EXPECT_EQ(n.deaths, before.deaths + (n.kind == MemberState::died ? 1 : 0));
    }
    lives_[n.who.id] = n;
  }

  // The process is stopped: what the manager does. True when it died as a member.
  void bury(InstanceId who) {
    instances().retire(who, InstanceState::fenced);
    ASSERT_TRUE(eventually([&] { return quick_->announce_death(who); }));
    ASSERT_TRUE(eventually([&] { return quick_->announce_recovery(who); }));
    ASSERT_TRUE(eventually([&] { return quick_->announce_death(who); }));
    const auto m = member(who.id);
    EXPECT_TRUE(m.who != who || m.state == MemberState::left || m.state == MemberState::recovered);
  }

  std::optional<Membership> quick_, slow_;
  std::map<u32, Notification> lives_;
  u64 last_ = 0;
};

TEST_F(MembershipDeathsTest, RandomKillsLoseAndDoubleNothing) {
  const u32 seed = environment("DVM_SEED", 1), rounds = environment("DVM_ROUNDS", 100);
  SCOPED_TRACE(fmt::format("DVM_SEED={} DVM_ROUNDS={}", seed, rounds));
  std::mt19937 random(seed);
  const std::vector<std::string> points = {"group.change",  "group.written", "group.armed",
                                           "group.logged",  "group.counted", "group.stated",
                                           "group.applied", "group.done"};
  std::array<pid_t, kMembers> pids;
  for (u32 i = 0; i < kMembers; ++i) pids[i] = fork_restless(kFirst + i);
  std::vector<Notification> quick_deaths, slow_deaths;
  for (u32 round = 0; round < rounds && !HasFailure(); ++round) {
    const u32 i = below(random, kMembers), id = kFirst + i;
    if (below(random, 4) != 0) {
      ASSERT_TRUE(arm_fault(world_->faults, points[below(random, 8)], FaultAction::kill,
                            below(random, 6), id, 0));
    } else {
      ::kill(pids[i], SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pids[i], &status, 0), pids[i]);
    children_.erase(pids[i]);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);
    bury(current(id));
    take_in(*quick_, quick_deaths);
    if (round % 5 == 4) take_in(*slow_, slow_deaths);
    pids[i] = fork_restless(id);
  }
  take_in(*quick_, quick_deaths);
  take_in(*slow_, slow_deaths);
  const auto names = [](const std::vector<Notification>& all) {
    std::vector<std::pair<u64, u64>> out;
    for (const Notification& n : all) out.emplace_back(n.sequence, n.who.packed());
    return out;
  };
  EXPECT_EQ(names(quick_deaths), names(slow_deaths));
  EXPECT_EQ(std::set<u64>([&] {
              std::set<u64> unique;
              for (const auto& n : quick_deaths) unique.insert(n.who.packed());
              return unique;
            }())
                .size(),
            quick_deaths.size())
      << "nobody dies twice";
  EXPECT_GT(quick_deaths.size(), rounds / 4);
}

}  // namespace
}  // namespace dvm::fabric
