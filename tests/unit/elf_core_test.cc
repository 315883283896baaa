// A guest's memory as an ELF core file, as a reader of such files sees it.
#include "tools/elf_core.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

namespace dvm::tools {
namespace {

template <typename T>
T at(const std::string& file, u64 offset) {
  T value{};
  EXPECT_LE(offset + sizeof(T), file.size());
  if (offset + sizeof(T) <= file.size()) std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

TEST(ElfCore, HasANoteForEachVcpuAndASegmentForEachRange) {
  std::vector<vmm::VcpuImage> vcpus(2);
  vcpus[0].regs.rip = 0xffff'ffff'8100'0000;
  vcpus[1].regs.rax = 42;
  vcpus[1].sregs.cr3 = 0x1234'5000;
  vcpus[1].kernel_gs_base = 7;
  const std::vector<CoreRange> ranges = {{0, 3 * kGiB}, {4 * kGiB, kGiB}};
  const CoreLayout core = core_layout(vcpus, ranges);

  const auto header = at<Elf64_Ehdr>(core.head, 0);
  EXPECT_EQ(std::memcmp(header.e_ident, ELFMAG, SELFMAG), 0);
  EXPECT_EQ(header.e_type, ET_CORE);
  ASSERT_EQ(header.e_phnum, 3);
  const auto note = at<Elf64_Phdr>(core.head, header.e_phoff);
  EXPECT_EQ(note.p_type, static_cast<u32>(PT_NOTE));
  EXPECT_EQ(note.p_offset + note.p_filesz, core.head.size());
  for (u32 i = 0; i < 2; ++i) {
    const auto load = at<Elf64_Phdr>(core.head, header.e_phoff + (1 + i) * sizeof(Elf64_Phdr));
    EXPECT_EQ(load.p_type, static_cast<u32>(PT_LOAD));
    EXPECT_EQ(load.p_paddr, ranges[i].gpa);
    EXPECT_EQ(load.p_filesz, ranges[i].bytes);
    EXPECT_EQ(load.p_offset, core.offsets[i]);
    EXPECT_EQ(load.p_offset % 4096, 0u);
  }
  EXPECT_GE(core.offsets[0], core.head.size());
  EXPECT_EQ(core.bytes, core.offsets[1] + kGiB);

  const u64 first = note.p_offset, status = 12 + 8 + 336, qemu = first + 2 * status;
  EXPECT_EQ(at<Elf64_Nhdr>(core.head, first).n_type, static_cast<u32>(NT_PRSTATUS));
  EXPECT_EQ(at<u64>(core.head, first + 20 + 112 + 16 * 8), vcpus[0].regs.rip);
  EXPECT_EQ(at<u64>(core.head, first + status + 20 + 112 + 10 * 8), 42u);
  EXPECT_EQ(at<Elf64_Nhdr>(core.head, qemu).n_descsz, 440u);
  EXPECT_EQ(std::memcmp(core.head.data() + qemu + 12, "QEMU", 5), 0);
  const u64 second = qemu + 20 + 440 + 20;
  EXPECT_EQ(at<u64>(core.head, second + 392 + 3 * 8), 0x1234'5000u);
  EXPECT_EQ(at<u64>(core.head, second + 432), 7u);
  EXPECT_EQ(note.p_filesz, 2 * status + 2 * (20 + 440));
}

}  // namespace
}  // namespace dvm::tools
