#include "vmm/devices/error_source.h"

#include <gtest/gtest.h>

#include <random>

#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

using namespace error_source;

constexpr u64 kPage = 0x1234'5000;

u64 read(const ErrorSourceState& s, u64 offset, u8 size) {
  return error_source_read(s, offset, size);
}

// As Linux's ghes.c does: address register, block, entry, section.
TEST(ErrorSource, TellsOfABadPage) {
  ErrorSourceState s;
  EXPECT_FALSE(error_source_irq(s));
  const u64 block = read(s, kAddressRegister, 8) - layout::kErrorSource;
  EXPECT_EQ(block, kBlock);
  EXPECT_EQ(read(s, block, 4), 0u);
  ASSERT_TRUE(error_source_report(s, kPage + 7));
  EXPECT_TRUE(error_source_irq(s));
  EXPECT_EQ(read(s, block, 4), 0x11u);           // uncorrectable, one entry
  EXPECT_EQ(read(s, block + 12, 4), 72u + 80u);  // data
  EXPECT_EQ(read(s, block + 16, 4), 0u);         // recoverable
  const u64 entry = block + 20;
  EXPECT_EQ(read(s, entry, 8), 0x4ede'6f64'a5bc'1114u);
  EXPECT_EQ(read(s, entry + 16, 4), 0u);
  EXPECT_EQ(read(s, entry + 20, 2), 0x300u);
  EXPECT_EQ(read(s, entry + 24, 4), 80u);
  const u64 section = entry + 72;
  EXPECT_EQ(read(s, section, 8) & 2, 2u);  // the address is valid
  EXPECT_EQ(read(s, section + 16, 8), kPage);
}

TEST(ErrorSource, GoesOnToTheNextWhenOneIsTaken) {
  ErrorSourceState s;
  const u64 address = kBlock + 20 + 72 + 16;
  for (u64 i = 0; i < 3; ++i) ASSERT_TRUE(error_source_report(s, kPage + i * kPageBytes));
  ASSERT_TRUE(error_source_report(s, kPage));  // waits already
  EXPECT_EQ(s.reported, 3u);
  for (u64 i = 0; i < 3; ++i) {
    EXPECT_EQ(read(s, address, 8), kPage + i * kPageBytes);
    EXPECT_TRUE(error_source_irq(s));
    error_source_write(s, kBlock, 4, 1);      // not zero
    error_source_write(s, kBlock + 1, 4, 0);  // elsewhere
    error_source_write(s, address, 8, 0);
    EXPECT_EQ(read(s, address, 8), kPage + i * kPageBytes);
    error_source_write(s, kBlock, 4, 0);
  }
  EXPECT_FALSE(error_source_irq(s));
  EXPECT_EQ(read(s, address, 8), 0u);
  error_source_write(s, kBlock, 4, 0);
  EXPECT_EQ(s.waiting_count, 0u);
}

TEST(ErrorSource, IsFullAtItsEnd) {
  ErrorSourceState s;
  for (u64 i = 0; i < ErrorSourceState::kPages; ++i)
    ASSERT_TRUE(error_source_report(s, i * kPageBytes));
  EXPECT_FALSE(error_source_report(s, kPage));
  EXPECT_EQ(s.reported, u64{ErrorSourceState::kPages});
}

TEST(ErrorSource, SurvivesRandomAccesses) {
  std::mt19937_64 random(5);
  ErrorSourceState s;
  for (int i = 0; i < 100'000; ++i) {
    const u64 offset = random() % 3 == 0 ? random() % kPageBytes : random() % 0x100;
    const u8 size = static_cast<u8>(1u << random() % 4);
    if (random() % 8 == 0) (void)error_source_report(s, random());
    if (random() % 2 == 0) error_source_write(s, offset, size, random() % 2 * random());
    const u64 value = read(s, offset, size);
    if (size < 8) {
      ASSERT_EQ(value >> (8 * size), 0u);
    }
    ASSERT_LE(s.waiting_count, ErrorSourceState::kPages);
    ASSERT_EQ(error_source_irq(s), s.waiting_count != 0);
  }
}

}  // namespace
}  // namespace dvm::vmm
