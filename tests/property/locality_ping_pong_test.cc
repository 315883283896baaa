// Whatever a guest does, even one that means ill: learned moves a vCPU only so often, and a node
// that takes no vCPUs gets none.
#include <gtest/gtest.h>

#include <random>

#include "hyperkernel/locality/learned_policy.h"

namespace dvm::locality {
namespace {

constexpr u64 kMs = 1'000'000;

class LocalityPingPong : public ::testing::TestWithParam<u32> {};

// Faults at random, or such that each move is made to look wrong as soon as it is done.
Observation next_fault(std::mt19937& random, const Placement& now, bool spiteful, u64 time_ns) {
  const u16 vcpu = static_cast<u16>(random() % now.node_of.size());
  const u8 node = now.node_of[vcpu];
  u8 from = static_cast<u8>(random() % now.nodes);
  if (spiteful || from == node) from = static_cast<u8>((node + 1) % now.nodes);
  return {.time_ns = time_ns,
          .page = static_cast<u32>(spiteful ? random() : random() % 512),
          .took_ns = static_cast<u32>(1'000 + random() % 3'000'000),
          .vcpu = vcpu,
          .node = node,
          .from = from,
          .kind = static_cast<SeenKind>(random() % 2)};
}

TEST_P(LocalityPingPong, IsBounded) {
  std::mt19937 random(GetParam());
  const bool spiteful = GetParam() % 2 == 0;
  LearnedPolicy policy(1u << 12);
  Placement placement;
  placement.nodes = 2 + static_cast<u32>(random() % 4);
  const u32 vcpus = 2 + static_cast<u32>(random() % 6);
  for (u32 v = 0; v < vcpus; ++v) placement.node_of.push_back(static_cast<u8>(v % placement.nodes));
  for (u32 n = 0; n < placement.nodes; ++n) placement.slots[n] = vcpus;
  const u8 closed = static_cast<u8>(placement.nodes - 1);
  placement.slots[closed] = 0;
  const CostModel costs{.page_move_ns = 1e6};
  std::vector<std::vector<u64>> moved(vcpus);
  u64 now = 1'000 * kMs;
  for (int step = 0; step < 3'000; ++step) {
    for (int i = 0; i < 40; ++i)
      policy.observe(next_fault(random, placement, spiteful, now + static_cast<u64>(i)));
    now += 10 * kMs;
    std::vector<Decision> wanted;
    policy.decide(now, placement, costs, wanted);
    for (const Decision& d : wanted) {
      ASSERT_TRUE(is_sound(d));
      ASSERT_NE(d.to, closed);
      ASSERT_EQ(placement.node_of[d.vcpu], d.from);
      placement.node_of[d.vcpu] = d.to;
      moved[d.vcpu].push_back(now);
      if (d.act == Act::swap_vcpus) {
        ASSERT_EQ(placement.node_of[d.other], d.to);
        placement.node_of[d.other] = d.from;
        moved[d.other].push_back(now);
      }
    }
    std::vector<SampleWish> wishes;
    policy.wish_samples(wishes);
    ASSERT_LE(wishes.size(), 8u * vcpus);
  }
  for (const auto& times : moved) {
    // Never sooner than the least stay, so at most so often in all.
    for (std::size_t i = 1; i < times.size(); ++i)
      ASSERT_GE(times[i], times[i - 1] + LearnedPolicy::kLeastStayNs);
    // To and fro between two nodes is what a stay four times as long each time bounds.
    if (placement.nodes == 3) {
      EXPECT_LE(times.size(), 24u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LocalityPingPong, ::testing::Range(1u, 33u));

}  // namespace
}  // namespace dvm::locality
