#include "vmm/boot/e820.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

bool is_ram(u64 gpa, u64 bytes, const std::vector<RamPart>& parts) {
  for (const RamPart& p : parts) {
    if (gpa >= p.gpa && gpa - p.gpa + bytes <= p.bytes) return true;
  }
  return false;
}

void expect_sound(u64 ram_bytes) {
  SCOPED_TRACE(fmt::format("{:#x} bytes", ram_bytes));
  const auto parts = ram_layout(ram_bytes);
  u64 offset = 0;
  for (const RamPart& p : parts) {
    EXPECT_GT(p.bytes, 0u);
    EXPECT_EQ(p.offset, offset);  // every byte of RAM is at exactly one guest address
    offset += p.bytes;
    EXPECT_TRUE(p.gpa + p.bytes <= layout::kLowRamEnd || p.gpa >= layout::kHighRamStart);
  }
  EXPECT_EQ(offset, ram_bytes);

  u64 end = 0;
  u64 usable = 0;
  for (const E820Entry& e : memory_map(ram_bytes)) {
    EXPECT_GT(e.bytes, 0u);
    EXPECT_GE(e.gpa, end);  // sorted, no overlap
    end = e.gpa + e.bytes;
    if (e.type != E820Type::ram) continue;
    usable += e.bytes;
    EXPECT_TRUE(is_ram(e.gpa, e.bytes, parts)) << fmt::format("{:#x}", e.gpa);
  }
  if (ram_bytes >= kMiB) {
    EXPECT_EQ(usable, ram_bytes - (kMiB - layout::kEbda));
  }
}

TEST(E820Test, NeverOverlapsAndOffersOnlyRam) {
  for (u64 n : {u64{0}, kPageBytes, 0xa0 * kPageBytes, kMiB, kMiB + kPageBytes, 64 * kMiB,
                layout::kLowRamEnd - kPageBytes, layout::kLowRamEnd,
                layout::kLowRamEnd + kPageBytes, 4 * kGiB, layout::kMaxMemory}) {
    expect_sound(n);
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const u64 limit = u64{1} << (12 + random() % 29);
    expect_sound(random() % limit & ~(kPageBytes - 1));
  }
}

TEST(E820Test, RamAboveThePciHoleGoesOnAtFourGiB) {
  const auto parts = ram_layout(layout::kLowRamEnd + kGiB);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[1].gpa, 4 * kGiB);
  EXPECT_EQ(parts[1].bytes, kGiB);
  EXPECT_EQ(parts[1].offset, layout::kLowRamEnd);
  EXPECT_EQ(low_ram_end(layout::kLowRamEnd + kGiB), layout::kLowRamEnd);
  EXPECT_EQ(low_ram_end(64 * kMiB), 64 * kMiB);
}

}  // namespace
}  // namespace dvm::vmm
