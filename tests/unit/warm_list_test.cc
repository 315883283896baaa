// Lists of the blocks that a guest wants: what is written can be read, and nothing else.
#include "srt/warm_list.h"

#include <gtest/gtest.h>

#include "fabric/crc32c.h"
#include "srt/block_runs.h"

namespace dvm::srt {
namespace {

WarmList sample() {
  return {{{"/images/a b%\n.raw", 64 * kMiB}, {"/dev/disk/by-id/x", kGiB + 512}},
          {{.first = 0, .blocks = 8, .disk = 1},
           {.first = 100, .blocks = 16284, .disk = 0},
           {.first = 262143, .blocks = 1, .disk = 1}}};
}

// With the sum that belongs to it.
std::string summed(const std::string& text) {
  return text + fmt::format("sum {:08x}\n", fabric::crc32c(std::as_bytes(std::span(text))));
}

std::string refusal(const std::string& text) {
  const auto list = parse_warm_list(text);
  return list.ok() ? "taken" : list.error().message;
}

TEST(WarmList, WhatIsWrittenIsRead) {
  for (const WarmList& list : {sample(), WarmList{}}) {
    const auto read = parse_warm_list(warm_text(list));
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(*read, list);
  }
  EXPECT_EQ(warm_text({{{"/d", 4096}}, {{.first = 0, .blocks = 1}}}),
            summed("dvm-warm-list 1\ndisk 4096 /d\nrun 0 0 1\n"));
}

TEST(WarmList, OneThatWasCutOffOrChangedIsRefused) {
  const std::string text = warm_text(sample());
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_NE(refusal(text.substr(0, length)), "taken") << length;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char other : {'0', '9', '\n', '\0', '\xff'}) {
      std::string changed = text;
      if (std::exchange(changed[at], other) == other) continue;
      EXPECT_NE(refusal(changed), "taken") << at;
    }
  }
  EXPECT_EQ(refusal(""), "not a list of blocks of dvm-run");
  EXPECT_EQ(refusal(text.substr(0, text.size() / 2)), "cut off");
  EXPECT_EQ(refusal(text + text), "damaged (its checksum is another one)");
}

TEST(WarmList, OneOfAnotherVersionSaysSo) {
  EXPECT_EQ(refusal(summed("dvm-warm-list 2\nanything\n")),
            "a list of another version (found '2'; allowed: 1)");
}

TEST(WarmList, WhatIsOutOfRangeIsRefusedWithItsLine) {
  const std::string head = "dvm-warm-list 1\ndisk 8192 /d\n";
  for (const char* line : {"run 1 0 1",
                           "run 0 0 0",
                           "run 0 0 3",
                           "run 0 2 1",
                           "run 0 1 2",
                           "run 0 18446744073709551615 1",
                           "run 0 1 4294967295",
                           "run 0 1",
                           "run 0 0 1 ",
                           "run 0 0 1 1",
                           "run -1 0 1",
                           "run 65536 0 1",
                           "disk 4096 ",
                           "disk x /d",
                           "disk 9223372036854775808 /e",
                           "disk 1 %",
                           "disk 1 %0",
                           "disk 1 %00",
                           "disk 1 %zz",
                           "disk 1 /\t",
                           "ran 0 0 1",
                           "",
                           "sum 00000000"})
    EXPECT_EQ(refusal(summed(head + line + "\n")), "line 3 is wrong") << line;
  EXPECT_EQ(refusal(summed(head + "run 0 1 1\n")), "taken");
  EXPECT_EQ(refusal(summed("dvm-warm-list 1\ndisk 1 /" + std::string(4096, 'x') + "\n")),
            "line 2 is wrong");
  std::string many = "dvm-warm-list 1\n";
  for (u32 i = 0; i <= kMostWarmDisks; ++i) many += "disk 1 /d\n";
  EXPECT_EQ(refusal(summed(many)), fmt::format("line {} is wrong", kMostWarmDisks + 2));
  EXPECT_EQ(refusal(std::string(kMostWarmBytes + 1, 'x')), "longer than 64 MiB");
}

// --- which blocks, in which order ---------------------------------------------------------------

UsedBlock used(u64 block, u32 boot, u32 order, u16 disk = 1) {
  return {{disk, block}, boot, order};
}

TEST(BlockRuns, TheLastBootComesFirstAndNeighboursTogether) {
  const auto runs = runs_of({used(9, 1, 1), used(8, 1, 2), used(100, 2, 3), used(5, 2, 1),
                             used(101, 2, 1, 2), used(4, 2, 4), used(101, 2, 2)},
                            {.blocks = 100, .runs = 100});
  // So few stand in the order of the disk.
  EXPECT_EQ(runs, (std::vector<BlockRun>{{.first = 4, .blocks = 2, .disk = 1},
                                         {.first = 8, .blocks = 2, .disk = 1},
                                         {.first = 100, .blocks = 2, .disk = 1},
                                         {.first = 101, .blocks = 1, .disk = 2}}));
}

TEST(BlockRuns, WhatIsWantedFirstComesFirstAsFarAsTheLimitsGo) {
  std::vector<UsedBlock> all;
  for (u32 i = 0; i < 10'000; ++i) all.push_back(used(20'000 - i, 1, i));
  const auto runs = runs_of(all, {.blocks = 5000, .runs = 100});
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0], (BlockRun{.first = 20'000 - 2047, .blocks = 2048, .disk = 1}));
  EXPECT_EQ(runs[2].blocks, 5000 - 2 * 2048u);
  EXPECT_EQ(runs_of(all, {.blocks = 5000, .runs = 2}).size(), 2u);
  EXPECT_TRUE(runs_of(all, {.blocks = 5000, .runs = 0}).empty());
  EXPECT_TRUE(runs_of({}, {.blocks = 1, .runs = 1}).empty());
}

}  // namespace
}  // namespace dvm::srt
