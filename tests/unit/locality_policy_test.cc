#include <gtest/gtest.h>

#include "hyperkernel/locality/learned_policy.h"
#include "hyperkernel/locality/step_clock.h"

namespace dvm::locality {
namespace {

constexpr u64 kMs = 1'000'000;

// A policy that is told of faults and asked in steps, and whose wishes come true.
struct Guest {
  std::unique_ptr<Policy> policy;
  Placement placement;
  CostModel costs;
  u64 now = 1'000 * kMs;
  std::vector<Decision> all;

  Guest(PolicyKind kind, std::vector<u8> nodes, u32 slots) : policy(make_policy(kind)) {
    placement.node_of = std::move(nodes);
    placement.nodes = 2;
    placement.slots[0] = placement.slots[1] = slots;
  }
  void fault(u16 vcpu, u32 page, u8 from, SeenKind kind = SeenKind::write) {
    policy->observe({.time_ns = now += 20'000,
                     .page = page,
                     .took_ns = 11'000,
                     .vcpu = vcpu,
                     .node = placement.node_of[vcpu],
                     .from = from,
                     .kind = kind});
  }
  std::vector<Decision> step(u64 after = 100 * kMs) {
    now += after;
    std::vector<Decision> wanted;
    policy->decide(now, placement, costs, wanted);
    for (const Decision& d : wanted) {
      if (d.act == Act::move_vcpu || d.act == Act::swap_vcpus) placement.node_of[d.vcpu] = d.to;
      if (d.act == Act::swap_vcpus) placement.node_of[d.other] = d.from;
      all.push_back(d);
    }
    return wanted;
  }
};

TEST(LocalityPolicy, NamesAreReadAsTheyAreWritten) {
  for (u32 i = 0; i < kPolicies; ++i) {
    const auto kind = static_cast<PolicyKind>(i);
    ASSERT_TRUE(parse_policy(policy_name(kind)).ok());
    EXPECT_EQ(*parse_policy(policy_name(kind)), kind);
  }
  EXPECT_EQ(parse_policy("best").error().message,
            "found 'best'; allowed: static, affinity or learned");
}

TEST(LocalityPolicy, StaticWantsNothing) {
  Guest g(PolicyKind::fixed, {0, 1}, 2);
  for (u32 page = 0; page < 1'000; ++page) g.fault(0, page, 1);
  EXPECT_TRUE(g.step().empty());
}

TEST(LocalityPolicy, AffinityFollowsTheMajorityWhereThereIsRoom) {
  Guest g(PolicyKind::affinity, {0, 1}, 2);
  g.step();
  for (u32 page = 0; page < 100; ++page) g.fault(0, page, 1);
  const auto wanted = g.step(1'000 * kMs);
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0].vcpu, 0);
  EXPECT_EQ(wanted[0].to, 1);
  Guest full(PolicyKind::affinity, {0, 1}, 1);
  full.step();
  for (u32 page = 0; page < 100; ++page) full.fault(0, page, 1);
  EXPECT_TRUE(full.step(1'000 * kMs).empty());
}

// Node 2 has come; node 0 has most.
Guest with_a_newcomer(PolicyKind kind) {
  Guest g(kind, {0, 0, 0, 1}, 4);
  g.placement.nodes = 3;
  g.placement.slots[2] = 4;
  g.placement.arrived = 1u << 2;
  return g;
}

TEST(LocalityPolicy, ANodeThatHasComeGetsOneOfTheMostCrowdedNodes) {
  for (const PolicyKind kind : {PolicyKind::affinity, PolicyKind::learned}) {
    Guest g = with_a_newcomer(kind);
    const auto wanted = g.step();
    ASSERT_EQ(wanted.size(), 1u);
    EXPECT_EQ(wanted[0].because, Because::node_came);
    EXPECT_EQ(wanted[0].from, 0);
    EXPECT_EQ(wanted[0].to, 2);
    EXPECT_EQ(sentence(wanted[0]),
              "vCPU 2 goes from node 0 to node 2: node 2 has just come and has none, node 0 has 3");
    EXPECT_TRUE(g.step().empty()) << "it has one now";
  }
  Guest still = with_a_newcomer(PolicyKind::fixed);
  EXPECT_TRUE(still.step().empty());
}

TEST(LocalityPolicy, ANodeThatWasThereOrTakesNoneOrFindsNobodyToSpareGetsNone) {
  for (const PolicyKind kind : {PolicyKind::affinity, PolicyKind::learned}) {
    Guest known = with_a_newcomer(kind), closed = with_a_newcomer(kind),
          alone = with_a_newcomer(kind);
    known.placement.arrived = 0;
    closed.placement.slots[2] = 0;
    alone.placement.node_of = {0, 1};
    EXPECT_TRUE(known.step().empty());
    EXPECT_TRUE(closed.step().empty());
    EXPECT_TRUE(alone.step().empty());
  }
}

TEST(LocalityPolicy, TwoThatHaveComeGetOneEach) {
  for (const PolicyKind kind : {PolicyKind::affinity, PolicyKind::learned}) {
    Guest g = with_a_newcomer(kind);
    g.placement.nodes = 4;
    g.placement.slots[3] = 4;
    g.placement.arrived |= 1u << 3;
    EXPECT_EQ(g.step().size(), 2u);
    for (u32 n = 0; n < 4; ++n) EXPECT_EQ(g.placement.load(n), 1u);
  }
}

TEST(LearnedPolicy, WhoIsLeastTiedGoesToTheNodeThatHasComeAndTiesBringItBack) {
  Guest g = with_a_newcomer(PolicyKind::learned);
  for (u32 page = 0; page < 100; ++page) g.fault(1, page, kAtHome);
  for (u32 page = 100; page < 200; ++page) g.fault(2, page, kAtHome);
  ASSERT_EQ(g.step().size(), 1u);
  EXPECT_EQ(g.all[0].vcpu, 0) << "it has no pages there";
  g.placement.arrived = 0;
  for (u32 i = 0; i < 400; ++i) {
    g.fault(0, 1'000 + i % 50, 0);
    g.fault(1, 1'000 + i % 50, 2);
  }
  ASSERT_EQ(g.step(1'000 * kMs).size(), 1u);
  EXPECT_EQ(g.placement.node_of[0], g.placement.node_of[1]);
}

TEST(LearnedPolicy, FewFaultsMoveNobody) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  for (u32 page = 0; page < 5; ++page) g.fault(0, page, 1);
  EXPECT_TRUE(g.step().empty());
}

TEST(LearnedPolicy, AVcpuGoesWhereItsPagesLie) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  for (u32 page = 0; page < 300; ++page) g.fault(0, page, 1);
  const auto wanted = g.step();
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0].act, Act::move_vcpu);
  EXPECT_EQ(wanted[0].because, Because::pages_there);
  EXPECT_EQ(wanted[0].to, 1);
  EXPECT_NEAR(wanted[0].count, 300, 20);  // it fades
  EXPECT_GT(wanted[0].gain_ns, wanted[0].price_ns);
  EXPECT_EQ(sentence(wanted[0]).find("vCPU 0 goes from node 0 to node 1: "), 0u);
}

TEST(LearnedPolicy, OneOfTwoThatShareGoesToTheOtherAndStays) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  for (u32 i = 0; i < 400; ++i) {
    g.fault(0, i % 50, 1);
    g.fault(1, i % 50, 0);
  }
  ASSERT_EQ(g.step().size(), 1u);
  EXPECT_EQ(g.all[0].because, Because::talks_there);
  EXPECT_EQ(g.placement.node_of[0], g.placement.node_of[1]);
  for (int i = 0; i < 50; ++i) g.step();
  EXPECT_EQ(g.all.size(), 1u);
}

TEST(LearnedPolicy, WhereThereIsNoRoomTwoChangePlaces) {
  Guest g(PolicyKind::learned, {0, 1}, 1);
  for (u32 page = 0; page < 400; ++page) {
    g.fault(0, page, 1);
    g.fault(1, 1'000 + page, 0);
  }
  g.step();
  EXPECT_EQ(g.placement.node_of, (std::vector<u8>{1, 0}));
}

TEST(LearnedPolicy, ANodeThatTakesNoneGetsNone) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  g.placement.slots[1] = 0;
  for (u32 page = 0; page < 1'000; ++page) g.fault(0, page, 1);
  EXPECT_TRUE(g.step().empty());
}

TEST(LearnedPolicy, ItsOwnPagesHoldAVcpuUntilTheyAreSeenToBeUnused) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  for (u32 page = 0; page < 5'000; ++page) g.fault(0, page, kAtHome);
  g.step();
  for (u32 page = 0; page < 200; ++page) g.fault(0, 10'000 + page, 1);
  EXPECT_TRUE(g.step(10 * kMs).empty());
  std::vector<SampleWish> wishes;
  for (int i = 0; i < 20 && g.all.empty(); ++i) {  // nobody touches what is looked at
    g.policy->wish_samples(wishes);
    for (u32 page = 0; page < 50; ++page) g.fault(0, 20'000 + 100u * static_cast<u32>(i) + page, 1);
    g.step(10 * kMs);
  }
  EXPECT_FALSE(wishes.empty());
  for (const SampleWish& wish : wishes) EXPECT_EQ(wish.node, 0);
  ASSERT_EQ(g.all.size(), 1u);
  EXPECT_EQ(g.all[0].to, 1);
}

TEST(LearnedPolicy, ARefusedMoveIsNotAskedForAgainAtOnce) {
  Guest g(PolicyKind::learned, {0, 1}, 2);
  for (u32 page = 0; page < 300; ++page) g.fault(0, page, 1);
  const auto wanted = g.step();
  ASSERT_EQ(wanted.size(), 1u);
  g.placement.node_of[0] = 0;
  g.policy->refused(wanted[0]);
  for (u32 page = 300; page < 600; ++page) g.fault(0, page, 1);
  EXPECT_TRUE(g.step(10 * kMs).empty());
}

TEST(LearnedPolicy, APageIsSharedOnceThatPaysAndNotIfItIsMostlyRead) {
  const CostModel costs;
  const auto ask = [&](u64 idle_ns) {
    LearnedPolicy policy;
    u64 now = 1'000 * kMs;
    Observation o;
    for (u32 i = 0; i < 30; ++i) {  // written by node 2, wanted again by 0 and 1 soon after
      o = {.time_ns = now,
           .page = 1,
           .took_ns = 11'000,
           .vcpu = 2,
           .node = 2,
           .from = kCopies,
           .kind = SeenKind::write};
      policy.observe(o);
      for (u8 node = 0; node < 2; ++node) {
        o = {.time_ns = now + idle_ns,
             .page = 1,
             .took_ns = 11'000,
             .vcpu = node,
             .node = node,
             .from = 2,
             .kind = SeenKind::read};
        policy.observe(o);
      }
      now += 10 * kMs;
    }
    o.vcpu = o.node = 0;
    return policy.share_now(o, 1e9, costs);
  };
  EXPECT_TRUE(ask(9 * kMs));  // hardly ever read: its hand-overs cost more
  EXPECT_FALSE(ask(1'000));   // read all the time between two writes
  LearnedPolicy policy;
  EXPECT_FALSE(policy.share_now({.page = 1}, costs.page_share_ns / 2, costs));
}

TEST(StepClock, TenTimesASecondOrSoonerWhenFaultsAreDear) {
  const CostModel costs;
  StepClock clock;
  EXPECT_TRUE(clock.due(1'000 * kMs, 0, costs));
  EXPECT_FALSE(clock.due(1'050 * kMs, 0, costs));
  EXPECT_TRUE(clock.due(1'100 * kMs, 0, costs));
  EXPECT_FALSE(clock.due(1'105 * kMs, 10 * costs.vcpu_move_ns, costs));
  EXPECT_TRUE(clock.due(1'110 * kMs, 0, costs));
  EXPECT_FALSE(clock.due(1'120 * kMs, costs.vcpu_move_ns, costs));
}

TEST(CostModel, IsCheckedAndNamed) {
  EXPECT_TRUE(check_costs({}).ok());
  EXPECT_FALSE(check_costs({.dram_ns = 0}).ok());
  EXPECT_FALSE(check_costs({.page_move_ns = 1e13}).ok());
  for (const char* name : {"pod", "host", "lab"}) EXPECT_TRUE(costs_named(name).ok());
  EXPECT_FALSE(costs_named("cloud").ok());
  double cost = 100;
  for (int i = 0; i < 100; ++i) learn_cost(cost, 200);
  EXPECT_NEAR(cost, 200, 1);
}

TEST(Decision, IsSoundOnlyInItsRanges) {
  EXPECT_TRUE(is_sound({}));
  EXPECT_FALSE(is_sound({.vcpu = 2'000}));
  EXPECT_FALSE(is_sound({.to = 16}));
  EXPECT_FALSE(is_sound({.act = static_cast<Act>(9)}));
  EXPECT_FALSE(is_sound({.because = static_cast<Because>(9)}));
}

}  // namespace
}  // namespace dvm::locality
