#include "tools/srt_option.h"

#include <gtest/gtest.h>

namespace dvm::tools {
namespace {

TEST(SrtOption, HalfOfRamUnlessSaidOtherwise) {
  EXPECT_EQ(settle_srt({}, {}, kGiB, true).value(), 512 * kMiB);
  EXPECT_EQ(settle_srt({}, {}, 32 * kMiB, true).value(), 64 * kMiB);
  EXPECT_EQ(settle_srt(true, 100 * kMiB, kGiB, true).value(), 100 * kMiB);
  EXPECT_EQ(settle_srt(false, {}, kGiB, true).value(), std::nullopt);
  EXPECT_EQ(settle_srt({}, {}, kGiB, false).value(), std::nullopt);
}

TEST(SrtOption, WhatIsWrongIsNamed) {
  EXPECT_EQ(parse_on_off("maybe").error().message, "found 'maybe'; allowed: on or off");
  EXPECT_EQ(check_srt_memory(1000).error().message,
            "found 1000 bytes; allowed: a multiple of 4 KiB");
  EXPECT_EQ(settle_srt(false, 100 * kMiB, kGiB, true).error().message,
            "found --srt-memory with --srt off; allowed: with --srt on");
  EXPECT_EQ(settle_srt({}, kMiB, kGiB, true).error().message,
            "--srt-memory: found 1 MiB; allowed with 1 GiB of RAM: 68 MiB or more");
}

TEST(SrtOption, AFileOfWhatIsWantedNeedsATableAndDisks) {
  EXPECT_TRUE(check_srt_warm({}, true).ok());
  EXPECT_TRUE(check_srt_warm(true, true).ok());
  EXPECT_EQ(check_srt_warm(false, true).error().message,
            "found --srt-warm with --srt off; allowed: with --srt on");
  EXPECT_EQ(check_srt_warm({}, false).error().message,
            "found --srt-warm without disks; allowed: with --disk");
}

}  // namespace
}  // namespace dvm::tools
