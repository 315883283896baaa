#include "vmm/boot/pvh.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

#include "vmm/boot/e820.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/loader.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr u64 kRam = 32 * kMiB;
constexpr u64 kText = 16 * kMiB;

Fd file_of(std::span<const std::byte> bytes) {
  Fd fd(::memfd_create("dvm-test", MFD_CLOEXEC));
  EXPECT_TRUE(fd.pwrite_all(bytes, 0, "test file").ok());
  return fd;
}

// A kernel with a segment that has zeros behind it, and two notes, the second with the entry.
struct FakeElf {
  Elf64_Ehdr header{};
  Elf64_Phdr load{};
  Elf64_Phdr note{};
  u32 note_type = 18;
  u64 entry = kText + 16;
  u64 cut = 0;  // bytes missing at the end of the file

  static constexpr u64 kNotesAt = 0x100, kTextAt = 0x200, kTextBytes = 0x300;

  FakeElf() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 2;
    load.p_type = PT_LOAD;
    load.p_offset = kTextAt;
    load.p_paddr = kText;
    load.p_filesz = kTextBytes;
    load.p_memsz = kTextBytes + 0x1000;
    note.p_type = PT_NOTE;
    note.p_offset = kNotesAt;
    note.p_filesz = 20 + 24;
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> file(kTextAt + kTextBytes, std::byte{0x90});
    const auto put = [&file](u64 at, const auto& value) {
      std::memcpy(file.data() + at, &value, sizeof(value));
    };
    put(0, header);
    put(sizeof(header), load);
    put(sizeof(header) + sizeof(load), note);
    put(kNotesAt, Elf64_Nhdr{4, 4, note_type});  // the right type, another owner
    std::memcpy(file.data() + kNotesAt + 12, "GNU\0____", 8);
    put(kNotesAt + 20, Elf64_Nhdr{4, 8, note_type});
    std::memcpy(file.data() + kNotesAt + 32, "Xen", 4);
    put(kNotesAt + 36, entry);
    file.resize(file.size() - cut);
    return file;
  }
};

class PvhTest : public ::testing::Test {
 protected:
  BootSource source(const FakeElf& elf) {
    return {file_of(elf.bytes()), "K", std::nullopt, "I", "console=ttyS0"};
  }
  std::string refusal(auto change) {
    FakeElf elf;
    change(elf);
    const auto status = check_boot_source(source(elf), kRam);
    if (status.ok()) return "accepted";
    EXPECT_EQ(status.error().kind, ErrorKind::usage);
    return status.error().message;
  }

  std::vector<std::byte> ram_ = std::vector<std::byte>(kRam, std::byte{0xa5});
  hyperkernel::GuestMemory memory_{{{0, ram_.size(), ram_.data()}}};
};

TEST_F(PvhTest, LoadsSegmentsAndStartInfo) {
  BootSource boot = source(FakeElf());
  boot.initrd = file_of(std::vector<std::byte>(5000, std::byte{0x5a}));
  const auto entry = load_guest(boot, memory_, kRam, 2);
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry.value(), (EntryState{EntryMode::protected32, kText + 16, layout::kPvhStartInfo}));
  EXPECT_EQ(ram_[kText], std::byte{0x90});
  EXPECT_EQ(ram_[kText + 0x2ff], std::byte{0x90});
  EXPECT_EQ(ram_[kText + 0x300], std::byte{0});
  EXPECT_EQ(ram_[kText + 0x12ff], std::byte{0});
  EXPECT_EQ(ram_[kText + 0x1300], std::byte{0xa5});

  const u64 info = layout::kPvhStartInfo;
  EXPECT_EQ(memory_.load<u32>(info).value(), 0x336e'c578u);
  EXPECT_EQ(memory_.load<u32>(info + 12).value(), 1u);
  const u64 module = memory_.load<u64>(info + 16).value();
  const u64 initrd = memory_.load<u64>(module).value();
  EXPECT_EQ(ram_[initrd], std::byte{0x5a});
  EXPECT_EQ(memory_.load<u64>(module + 8).value(), 5000u);
  const u64 text = memory_.load<u64>(info + 24).value();
  EXPECT_STREQ(reinterpret_cast<const char*>(ram_.data() + text), "console=ttyS0");
  const u64 rsdp = memory_.load<u64>(info + 32).value();
  EXPECT_EQ(std::memcmp(ram_.data() + rsdp, "RSD PTR ", 8), 0);
  const u64 map = memory_.load<u64>(info + 40).value();
  const auto expected = memory_map(kRam);
  ASSERT_EQ(memory_.load<u32>(info + 48).value(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(memory_.load<u64>(map + 24 * i).value(), expected[i].gpa);
    EXPECT_EQ(memory_.load<u64>(map + 24 * i + 8).value(), expected[i].bytes);
  }
}

TEST_F(PvhTest, SaysWhatIsWrong) {
  const auto says = [this](auto change, const char* words) {
    const std::string message = refusal(change);
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_EQ(message.find("kernel K: "), 0u);
  };
  EXPECT_EQ(refusal([](FakeElf&) {}), "accepted");
  says([](FakeElf& e) { e.header.e_machine = EM_AARCH64; }, "not for x86-64");
  says([](FakeElf& e) { e.header.e_type = ET_REL; }, "not an executable");
  says([](FakeElf& e) { e.header.e_phnum = 0; }, "0 program headers");
  says([](FakeElf& e) { e.header.e_phoff = ~0ull; }, "truncated: program headers");
  says([](FakeElf& e) { e.cut = 1; }, "truncated: a segment");
  says([](FakeElf& e) { e.note_type = 17; }, "without a PVH entry");
  says([](FakeElf& e) { e.entry = kText + 0x1300; }, "in no segment");
  says([](FakeElf& e) { e.load.p_memsz = 1; }, "ELF segment");
  says([](FakeElf& e) { e.load.p_paddr = 0x7000; }, "ELF segment");
  says([](FakeElf& e) { e.load.p_paddr = ~0ull; }, "ELF segment");
  says([](FakeElf& e) { e.load.p_memsz = kRam; }, "needs memory up to 48 MiB");
}

// Whatever stands in the file, nothing outside it is read and nothing outside RAM is written.
TEST_F(PvhTest, HostileFilesAreRefusedOrSafe) {
  std::mt19937_64 random(11);
  const auto good = FakeElf().bytes();
  int taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto file = good;
    const u64 changes = 1 + random() % 3;
    for (u64 c = 0; c < changes; ++c) {
      file[random() % (FakeElf::kNotesAt + 44)] = static_cast<std::byte>(random());
    }
    if (random() % 8 == 0) file.resize(1 + random() % file.size());
    const Fd fd = file_of(file);
    const auto opened = BootFile::open(fd, "kernel", "K");
    ASSERT_TRUE(opened.ok());
    const auto image = read_pvh(opened.value());
    if (!image.ok() || !check_pvh_fits(image.value(), kRam, "kernel K").ok()) continue;
    ++taken;
    ASSERT_TRUE(load_pvh(image.value(), opened.value(), memory_).ok());
  }
  EXPECT_GT(taken, 100);
}

TEST(ElfNoteTest, RandomNotesAreNeverReadPastTheirEnd) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 100'000; ++i) {
    std::vector<std::byte> notes(random() % 64);
    for (auto& b : notes) b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 8);
    const auto note = find_note(notes, "Xen", 18);
    if (note) {
      EXPECT_LE(note->data() + note->size(), notes.data() + notes.size());
    }
  }
}

}  // namespace
}  // namespace dvm::vmm
