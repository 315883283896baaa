#include "hyperkernel/share_policy.h"

#include <gtest/gtest.h>

namespace dvm::hyperkernel {
namespace {

constexpr u64 kUs = 1000;

SharePolicy measured(u64 block) {
  SharePolicy policy(block);
  policy.note_hand_over(10 * kUs);
  policy.note_shared(32, 32 * 20 * kUs);
  return policy;
}

TEST(SharePolicy, WhileThereIsRoomTheFirstContendedWriteTakesABlock) {
  const SharePolicy policy(64);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 0}), 64u);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 256}), 32u);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 512}), 16u);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 895}), 8u);
  EXPECT_EQ(policy.pages_to_share(false, 0, {1024, 0}), 0u) << "who reads gets a copy";
}

TEST(SharePolicy, WithoutBlocksAPageHasToHaveCostWhatSharingCosts) {
  const SharePolicy policy = measured(0);
  EXPECT_EQ(policy.price_ns({1024, 0}), 30 * kUs);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 0}), 0u);
  EXPECT_EQ(policy.pages_to_share(true, 30 * kUs - 1, {1024, 0}), 0u);
  EXPECT_EQ(policy.pages_to_share(true, 30 * kUs, {1024, 0}), 1u);
  EXPECT_EQ(policy.pages_to_share(false, 30 * kUs, {1024, 0}), 1u) << "a reader that pays as well";
}

TEST(SharePolicy, InTheSecondHalfOfTheRegionThePriceIsTwice) {
  const SharePolicy policy = measured(32);
  EXPECT_EQ(policy.price_ns({1024, 511}), 30 * kUs);
  EXPECT_EQ(policy.price_ns({1024, 512}), 60 * kUs);
  EXPECT_EQ(policy.price_ns({1024, 959}), 60 * kUs);
  EXPECT_EQ(policy.price_ns({1024, 960}), 120 * kUs) << "it drives another out";
}

TEST(SharePolicy, NearlyFullOnlyTheDearestGoIn) {
  const SharePolicy policy = measured(32);
  EXPECT_EQ(policy.pages_to_share(true, 0, {1024, 896}), 0u);
  EXPECT_EQ(policy.pages_to_share(true, 59 * kUs, {1024, 896}), 0u);
  EXPECT_EQ(policy.pages_to_share(true, 60 * kUs, {1024, 896}), 1u);
}

TEST(SharePolicy, NothingIsSharedWithoutRoom) {
  const SharePolicy policy = measured(32);
  EXPECT_EQ(policy.pages_to_share(true, ~0ull, {1024, 1024}), 0u);
  EXPECT_EQ(policy.pages_to_share(true, ~0ull, {0, 0}), 0u);
  EXPECT_FALSE(policy.wants_room(~0ull, {0, 0}));
}

TEST(SharePolicy, AsGoodAsFullThePageThatHasPaidTwiceOverWantsRoom) {
  const SharePolicy policy = measured(32);
  EXPECT_FALSE(policy.wants_room(119 * kUs, {1024, 1024}));
  EXPECT_TRUE(policy.wants_room(120 * kUs, {1024, 1024}));
  EXPECT_TRUE(policy.wants_room(120 * kUs, {1024, 960}));
  EXPECT_FALSE(policy.wants_room(~0ull, {1024, 959})) << "there is room";
  EXPECT_EQ(policy.room_wanted({1024, 1024}), 65u);
  EXPECT_EQ(policy.room_wanted({1024, 960}), 1u);
  EXPECT_EQ(policy.room_wanted({1024, 10}), 0u);
}

TEST(SharePolicy, WhatItCostsIsLearntFromWhatItTook) {
  SharePolicy policy(0);
  policy.note_hand_over(8 * kUs);
  EXPECT_EQ(policy.price_ns({1024, 0}), 16 * kUs) << "not shared yet: about a hand-over";
  for (int i = 0; i < 100; ++i) policy.note_hand_over(80 * kUs);
  EXPECT_NEAR(static_cast<double>(policy.price_ns({1024, 0})), 160e3, 1e3);
  policy.note_shared(0, 5);
  EXPECT_NEAR(static_cast<double>(policy.price_ns({1024, 0})), 160e3, 1e3) << "nothing was shared";
}

}  // namespace
}  // namespace dvm::hyperkernel
