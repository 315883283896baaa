#include "tools/page_summary.h"

#include <gtest/gtest.h>

namespace dvm::tools {
namespace {

TEST(PageSummary, TheLineIsReadAsItWasWritten) {
  const PageSummary summary{
      .faults = 12, .hand_overs = 345, .shared = 6, .evicted = 70'000'000'000};
  EXPECT_EQ(read_summary("dvm-run: guest: " + summary_text(summary)), summary);
}

TEST(PageSummary, OtherLinesAreNone) {
  EXPECT_FALSE(read_summary("").has_value());
  EXPECT_FALSE(read_summary("dvm-run: guest: 2 vCPUs on 2 nodes").has_value());
  EXPECT_FALSE(read_summary("software coherence: many faults").has_value());
  EXPECT_FALSE(read_summary("software coherence: 1 faults, 2 pages handed over").has_value());
}

}  // namespace
}  // namespace dvm::tools
