// Guest-virtual to guest-physical, with tables made by hand.
#include "vmm/page_walk.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

constexpr u64 kRam = 1 * kMiB;
constexpr u64 kLongMode = 1u << 10, kPaging = 1u << 31, kPae = 1u << 5, kLarge = 1u << 4;

class PageWalk : public ::testing::Test {
 protected:
  template <typename T>
  void entry(u64 table, u64 index, T value) {
    ASSERT_TRUE(memory_.store(table + index * sizeof(T), value).ok());
  }
  u64 walk(const PagingState& state, u64 address) {
    const auto found = walk_page_tables(memory_, state, address);
    return found.ok() ? found->gpa : ~u64{0};
  }
  std::vector<std::byte> ram_ = std::vector<std::byte>(kRam);
  hyperkernel::GuestMemory memory_{{{0, kRam, ram_.data()}}};
};

TEST_F(PageWalk, WithoutPagingAddressesAreWhatTheyAre) {
  EXPECT_EQ(walk({}, 0x1234), 0x1234u);
  EXPECT_EQ(walk({}, 0x1'0000'1234), 0x1234u) << "32 bits";
}

TEST_F(PageWalk, FourLevelsWithAllSizesOfPages) {
  const PagingState state{kPaging, 0x1000, kPae, kLongMode};
  entry<u64>(0x1000, 511, 0x2000 | 0x8000'0000'0000'0003);  // no-execute is no part of the address
  entry<u64>(0x2000, 510, 0x3000 | 3);
  entry<u64>(0x3000, 5, 0x4000 | 3);
  entry<u64>(0x4000, 7, 0xab000 | 1);
  entry<u64>(0x3000, 6, 0x4000'0000 | 0x83);
  entry<u64>(0x2000, 511, 0xc000'0000 | 0x83);
  constexpr u64 kBase = 0xffff'ffff'8000'0000;
  EXPECT_EQ(walk(state, kBase + (5 << 21) + (7 << 12) + 0x123), 0xab123u);
  EXPECT_EQ(walk(state, kBase + (6 << 21) + 0x1f'0123), 0x4000'0000u + 0x1f'0123);
  EXPECT_EQ(walk(state, kBase + (u64{1} << 30) + 0x123'4567), 0xc000'0000u + 0x123'4567);
  EXPECT_EQ(walk(state, kBase + (5 << 21) + (8 << 12)), ~u64{0}) << "not present";
  EXPECT_EQ(walk(state, 0), ~u64{0});
}

TEST_F(PageWalk, APageIsTheUsersIfEveryLevelSaysSo) {
  const PagingState state{kPaging, 0x1000, kPae, kLongMode};
  entry<u64>(0x1000, 0, 0x2000 | 7);
  entry<u64>(0x2000, 0, 0x3000 | 7);
  entry<u64>(0x3000, 0, 0x87);
  entry<u64>(0x3000, 1, 0x83);
  EXPECT_TRUE(walk_page_tables(memory_, state, 0x1000)->user);
  EXPECT_FALSE(walk_page_tables(memory_, state, 0x20'0000)->user);
  entry<u64>(0x2000, 0, 0x3000 | 3);
  EXPECT_FALSE(walk_page_tables(memory_, state, 0x1000)->user);
  EXPECT_FALSE(walk_page_tables(memory_, {}, 0x1000)->user);
}

TEST_F(PageWalk, FiveLevels) {
  const PagingState state{kPaging, 0x1000, kPae | 1u << 12, kLongMode};
  entry<u64>(0x1000, 1, 0x2000 | 3);
  entry<u64>(0x2000, 0, 0x3000 | 3);
  entry<u64>(0x3000, 0, 0x83);
  EXPECT_EQ(walk(state, (u64{1} << 48) + 0x777), 0x777u);
  EXPECT_EQ(walk(state, 0x777), ~u64{0});
}

TEST_F(PageWalk, PaeOfThirtyTwoBits) {
  const PagingState state{kPaging, 0x1020, kPae, 0};
  entry<u64>(0x1020, 3, 0x2000 | 1);
  entry<u64>(0x2000, 2, 0x3000 | 3);
  entry<u64>(0x3000, 1, 0x5000 | 3);
  entry<u64>(0x2000, 4, 0x60'0000 | 0x83);
  EXPECT_EQ(walk(state, 0xc000'0000 + (2 << 21) + (1 << 12) + 9), 0x5009u);
  EXPECT_EQ(walk(state, 0xc000'0000 + (4 << 21) + 9), 0x60'0009u);
}

TEST_F(PageWalk, ThirtyTwoBitTables) {
  const PagingState state{kPaging, 0x1000, kLarge, 0};
  entry<u32>(0x1000, 768, 0x2000 | 3);
  entry<u32>(0x2000, 3, 0x7000 | 3);
  entry<u32>(0x1000, 769, 0x0080'0000 | 1u << 13 | 0x83);  // PSE-36: above 4 GiB
  EXPECT_EQ(walk(state, 0xc000'3004), 0x7004u);
  EXPECT_EQ(walk(state, 0xc040'0004), 0x1'0080'0004u);
  EXPECT_EQ(walk({kPaging, 0x1000, 0, 0}, 0xc040'0004), ~u64{0}) << "without PSE it is a table";
}

TEST_F(PageWalk, TablesOutsideRamAreAnError) {
  EXPECT_EQ(walk({kPaging, 0xffff'f000, kPae, kLongMode}, 0), ~u64{0});
  entry<u64>(0x1000, 0, 0x7'ffff'f000 | 3);
  EXPECT_EQ(walk({kPaging, 0x1000, kPae, kLongMode}, 0), ~u64{0});
}

}  // namespace
}  // namespace dvm::vmm
