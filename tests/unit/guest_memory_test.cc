#include "hyperkernel/guest_memory.h"

#include <gtest/gtest.h>

namespace dvm::hyperkernel {
namespace {

class GuestMemoryTest : public ::testing::Test {
 protected:
  std::vector<std::byte> low_ = std::vector<std::byte>(0x2000);
  std::vector<std::byte> high_ = std::vector<std::byte>(0x1000);
  GuestMemory memory_{{{0, low_.size(), low_.data()}, {4 * kGiB, high_.size(), high_.data()}}};
};

TEST_F(GuestMemoryTest, StoresAndLoadsInEachRange) {
  ASSERT_TRUE(memory_.store<u64>(0x1ff8, 42).ok());
  ASSERT_TRUE(memory_.store<u32>(4 * kGiB, 7).ok());
  EXPECT_EQ(memory_.load<u64>(0x1ff8).value(), 42u);
  EXPECT_EQ(memory_.load<u32>(4 * kGiB).value(), 7u);
}

TEST_F(GuestMemoryTest, RefusesWhatIsNotRam) {
  EXPECT_FALSE(memory_.store<u64>(0x1ff9, 1).ok());  // crosses the end
  EXPECT_FALSE(memory_.load<u8>(0x2000).ok());       // the hole
  EXPECT_FALSE(memory_.load<u8>(~0ull).ok());
  EXPECT_FALSE(memory_.span(0x1000, ~0ull - 0x800).ok());  // gpa + bytes wraps
  EXPECT_FALSE(memory_.load_acquire<u16>(0x101).ok());     // not aligned
  EXPECT_FALSE(memory_.span(0, 0).ok());
}

TEST_F(GuestMemoryTest, SpanFromIsCutAtTheEndOfItsRange) {
  EXPECT_EQ(memory_.span_from(0x1f00, 0x1000).size(), 0x100u);
  EXPECT_TRUE(memory_.span_from(0x3000, 1).empty());
}

}  // namespace
}  // namespace dvm::hyperkernel
