#include <gtest/gtest.h>

#include <cstring>

#include "vmm/boot/entry_state.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

class EntryTest : public ::testing::Test {
 protected:
  // Walks the page tables as the CPU would (Intel SDM vol. 3A §4.5.4).
  u64 translate(u64 cr3, u64 address) {
    u64 entry = cr3 | 1;
    for (unsigned shift = 39; shift >= 21; shift -= 9) {
      const u64 table = entry & 0x000f'ffff'ffff'f000;
      entry = memory_.load<u64>(table + (address >> shift & 0x1ff) * 8).value();
      if ((entry & 3) != 3) return ~0ull;
      if (shift == 21) {
        EXPECT_TRUE(entry & 0x80);
      }
    }
    return (entry & 0x000f'ffff'ffe0'0000) | (address & (kHugePageBytes - 1));
  }

  std::vector<std::byte> ram_ = std::vector<std::byte>(kMiB, std::byte{0xa5});
  hyperkernel::GuestMemory memory_{{{0, ram_.size(), ram_.data()}}};
};

TEST_F(EntryTest, MapsTheFirstFourGiBOneToOne) {
  ASSERT_TRUE(write_boot_structures(memory_, EntryMode::long64).ok());
  kvm_sregs sregs{};
  fill_entry_sregs({EntryMode::long64, 0x100'0200, 0x7000}, sregs);
  for (u64 a = 0; a < 4 * kGiB; a += kHugePageBytes) {
    ASSERT_EQ(translate(sregs.cr3, a + 0x1234), a + 0x1234);
  }
  EXPECT_EQ(translate(sregs.cr3, 4 * kGiB), ~0ull);
  EXPECT_EQ(translate(sregs.cr3, 1ull << 39), ~0ull);
}

TEST_F(EntryTest, TheGdtHoldsTheSegmentsOfTheRegisters) {
  ASSERT_TRUE(write_boot_structures(memory_, EntryMode::long64).ok());
  EXPECT_EQ(memory_.load<u64>(layout::kBootGdt).value(), 0u);
  EXPECT_EQ(memory_.load<u64>(layout::kBootGdt + 0x10).value(), 0x00af'9b00'0000'ffffu);
  EXPECT_EQ(memory_.load<u64>(layout::kBootGdt + 0x18).value(), 0x00cf'9300'0000'ffffu);
  ASSERT_TRUE(write_boot_structures(memory_, EntryMode::protected32).ok());
  EXPECT_EQ(memory_.load<u64>(layout::kBootGdt + 0x10).value(), 0x00cf'9b00'0000'ffffu);
}

TEST_F(EntryTest, LongModeRegistersWhateverWasThereBefore) {
  kvm_sregs sregs;
  std::memset(&sregs, 0xff, sizeof(sregs));
  sregs.apic_base = 0xfee0'0d00;
  fill_entry_sregs({EntryMode::long64, 0x100'0200, 0x7000}, sregs);
  EXPECT_EQ(sregs.cr0, 0x8001'0033u);
  EXPECT_EQ(sregs.cr4, 0x20u);
  EXPECT_EQ(sregs.efer, 0x500u);
  EXPECT_EQ(sregs.cs.l, 1);
  EXPECT_EQ(sregs.cs.db, 0);
  EXPECT_EQ(sregs.cs.unusable, 0);
  EXPECT_EQ(sregs.ss.selector, 0x18);
  EXPECT_EQ(sregs.tr.type, 11);
  EXPECT_EQ(sregs.apic_base, 0xfee0'0d00u);
  kvm_regs regs;
  std::memset(&regs, 0xff, sizeof(regs));
  fill_entry_regs({EntryMode::long64, 0x100'0200, 0x7000}, regs);
  EXPECT_EQ(regs.rip, 0x100'0200u);
  EXPECT_EQ(regs.rsi, 0x7000u);
  EXPECT_EQ(regs.rflags, 2u);
  EXPECT_EQ(regs.rbx, 0u);
}

TEST_F(EntryTest, PvhEntersFlatProtectedModeWithoutPaging) {
  kvm_sregs sregs{};
  fill_entry_sregs({EntryMode::protected32, 0x100'0000, 0x6000}, sregs);
  EXPECT_EQ(sregs.cr0, 0x11u);
  EXPECT_EQ(sregs.cr4, 0u);
  EXPECT_EQ(sregs.efer, 0u);
  EXPECT_EQ(sregs.cs.db, 1);
  EXPECT_EQ(sregs.cs.l, 0);
  EXPECT_EQ(sregs.cs.limit, 0xffff'ffffu);
  EXPECT_EQ(sregs.tr.limit, 0x67u);
  kvm_regs regs{};
  fill_entry_regs({EntryMode::protected32, 0x100'0000, 0x6000}, regs);
  EXPECT_EQ(regs.rbx, 0x6000u);
  EXPECT_EQ(regs.rip, 0x100'0000u);
}

TEST_F(EntryTest, TooLittleMemoryIsAnError) {
  hyperkernel::GuestMemory tiny({{0, 0xa000, ram_.data()}});
  EXPECT_FALSE(write_boot_structures(tiny, EntryMode::long64).ok());
}

}  // namespace
}  // namespace dvm::vmm
