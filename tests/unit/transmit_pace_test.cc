#include "vmm/net/transmit_pace.h"

#include <gtest/gtest.h>

namespace dvm::vmm::net {
namespace {

// A stream of packets that are found one at a time, each by a notification.
u64 notice(TransmitPace& pace, u32 looks, u64& now, u64 received = 0) {
  u64 sleep = 0;
  for (u32 i = 0; i < looks; ++i) {
    now += 100'000;
    sleep = pace.looked(1, received, now);
    if (sleep != 0) break;
    EXPECT_EQ(pace.looked(0, received, now), 0u) << "asks at once";
  }
  return sleep;
}

TEST(TransmitPace, AStreamThatNobodyAnswersIsLeftAlone) {
  TransmitPace pace;
  u64 now = 1'000'000'000;
  EXPECT_EQ(notice(pace, TransmitPace::kOneWayLooks, now), 0u);
  u64 sleep = notice(pace, 1, now);
  EXPECT_EQ(sleep, TransmitPace::kLeastNs);
  for (int i = 0; i < 10; ++i) {
    now += sleep;
    sleep = pace.looked(4, 0, now);
  }
  EXPECT_EQ(sleep, TransmitPace::kMostNs) << "few packets: longer";
  for (int i = 0; i < 10; ++i) {
    now += sleep;
    sleep = pace.looked(200, 0, now);
  }
  EXPECT_EQ(sleep, TransmitPace::kLeastNs) << "the queue was almost full: shorter";
}

TEST(TransmitPace, WhatIsAnsweredNeverWaits) {
  TransmitPace pace;
  u64 now = 1'000'000'000;
  for (u64 received = 0; received < 1000; received += 1)
    ASSERT_EQ(notice(pace, TransmitPace::kOneWayLooks, now, received), 0u);
}

TEST(TransmitPace, AnAnswerEndsIt) {
  TransmitPace pace;
  u64 now = 1'000'000'000;
  ASSERT_NE(notice(pace, 100, now), 0u);
  EXPECT_EQ(pace.looked(3, 1, now), 0u);
}

TEST(TransmitPace, SeldomPacketsNeverWait) {
  TransmitPace pace;
  u64 now = 1'000'000'000;
  for (int i = 0; i < 1000; ++i) {
    now += TransmitPace::kStreamGapNs + 1;
    ASSERT_EQ(pace.looked(1, 0, now), 0u);
  }
}

TEST(TransmitPace, AnEmptyQueueIsAskedAbout) {
  TransmitPace pace;
  u64 now = 1'000'000'000;
  u64 sleep = notice(pace, 100, now);
  ASSERT_EQ(sleep, TransmitPace::kLeastNs);
  EXPECT_EQ(pace.looked(0, 0, now + sleep), 0u);
  EXPECT_EQ(notice(pace, TransmitPace::kOneWayLooks, now), 0u) << "as before the first";
  EXPECT_EQ(notice(pace, 1, now), 2 * TransmitPace::kLeastNs) << "it was too short";
}

}  // namespace
}  // namespace dvm::vmm::net
