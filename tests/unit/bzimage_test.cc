#include "vmm/boot/bzimage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "vmm/boot/e820.h"
#include "vmm/boot/loader.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr u64 kRam = 64 * kMiB;

Fd file_of(std::span<const std::byte> bytes) {
  Fd fd(::memfd_create("dvm-test", MFD_CLOEXEC));
  EXPECT_TRUE(fd.pwrite_all(bytes, 0, "test file").ok());
  return fd;
}

// The smallest kernel the protocol allows, its payload a pattern.
struct FakeKernel {
  setup_header header{};
  u64 payload = 10'000;

  FakeKernel() {
    header.setup_sects = 1;
    header.syssize = static_cast<u32>((payload + 15) / 16);
    header.boot_flag = 0xaa55;
    header.jump = 0x66eb;  // the header ends at 0x268
    header.header = 0x5372'6448;
    header.version = 0x020f;
    header.loadflags = LOADED_HIGH;
    header.initrd_addr_max = 0x7fff'ffff;
    header.kernel_alignment = 0x20'0000;
    header.relocatable_kernel = 1;
    header.xloadflags = XLF_KERNEL_64;
    header.cmdline_size = 2047;
    header.pref_address = 0x100'0000;
    header.init_size = 0x80'0000;
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> file((header.setup_sects + 1u) * 512u + payload);
    for (u64 i = 0; i < payload; ++i)
      file[file.size() - payload + i] = static_cast<std::byte>(i % 251);
    std::memcpy(file.data() + 0x1f1, &header, sizeof(header));
    return file;
  }
  Result<BzImage> parse() const {
    const auto file = bytes();
    return parse_bzimage(std::span(file).first(kKernelHeadBytes), file.size(), "kernel K");
  }
  std::string message() const {
    const auto result = parse();
    if (result.ok()) return "accepted";
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
    EXPECT_EQ(result.error().message.find("kernel K: "), 0u);
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
    return result.error().message;
  }
};

TEST(BzImageTest, TakesAGoodHeader) {
  const auto image = FakeKernel().parse();
  ASSERT_TRUE(image.ok()) << image.error().message;
  EXPECT_EQ(image.value().payload_offset, 1024u);
  EXPECT_EQ(image.value().payload_bytes, 10'000u);
  EXPECT_EQ(image.value().load_address, layout::kKernelLoad);
  EXPECT_EQ(image.value().entry(), layout::kKernelLoad + 0x200);
  EXPECT_EQ(image.value().initrd_limit, 0x8000'0000u);
  EXPECT_EQ(image.value().command_line_max, 2047u);
}

TEST(BzImageTest, SaysWhatIsWrong) {
  const auto says = [](auto change, const char* words) {
    FakeKernel k;
    change(k);
    EXPECT_NE(k.message().find(words), std::string::npos) << k.message();
  };
  says([](FakeKernel& k) { k.header.boot_flag = 0; }, "no boot flag");
  says([](FakeKernel& k) { k.header.header = 0; }, "no HdrS signature at 0x202");
  says([](FakeKernel& k) { k.header.version = 0x0205; }, "2.05; 2.12");
  says([](FakeKernel& k) { k.header.loadflags = 0; }, "zImage");
  says([](FakeKernel& k) { k.header.xloadflags = 0; }, "32-bit");
  says([](FakeKernel& k) { k.payload -= 5000; },
       "truncated: 6024 bytes, its header promises 11024");
  says([](FakeKernel& k) { k.header.syssize = 0; }, "syssize 0");
  says([](FakeKernel& k) { k.header.kernel_alignment = 0; }, "kernel_alignment");
  says([](FakeKernel& k) { k.header.kernel_alignment = 0x30'0000; }, "kernel_alignment");
  says([](FakeKernel& k) { k.header.pref_address = ~0ull; }, "wants address");
  says([](FakeKernel& k) { k.header.relocatable_kernel = 0, k.header.pref_address = 0x1000; },
       "1 MiB is the lowest");
  says([](FakeKernel& k) { k.header.jump = 0x00eb; }, "HdrS");  // the header ends before it
}

TEST(BzImageTest, ChoosesTheAddress) {
  FakeKernel k;
  k.header.pref_address = 0x200'0000;
  EXPECT_EQ(k.parse().value().load_address, 0x200'0000u);
  k.header.kernel_alignment = 0x400'0000;
  EXPECT_EQ(k.parse().value().load_address, 0x400'0000u);
  k.header.relocatable_kernel = 0;
  EXPECT_EQ(k.parse().value().load_address, 0x200'0000u);
}

TEST(BzImageTest, MemoryMustHoldInitSize) {
  const BzImage image = FakeKernel().parse().value();
  EXPECT_TRUE(check_bzimage_fits(image, 24 * kMiB, "kernel K").ok());
  const auto refused = check_bzimage_fits(image, 24 * kMiB - 1, "kernel K");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "kernel K: needs 8 MiB of memory from 16 MiB on to start; memory ends at 23 MiB");
}

// Whatever stands in the file: a checked image lies in the file and in RAM.
TEST(BzImageTest, HostileHeadersAreRefusedOrSafe) {
  std::mt19937_64 random(7);
  const auto good = FakeKernel().bytes();
  int taken = 0;
  for (int i = 0; i < 50'000; ++i) {
    auto file = good;
    const u64 changes = 1 + random() % 4;
    for (u64 c = 0; c < changes; ++c) {
      file[0x1f1 + random() % 0x80] = static_cast<std::byte>(random());
    }
    if (random() % 8 == 0) file.resize(random() % file.size());
    // An exact copy, so that the sanitizer sees a read past its end.
    const std::vector<std::byte> head(
        file.begin(),
        file.begin() + static_cast<i64>(std::min<u64>(file.size(), kKernelHeadBytes)));
    const auto image = parse_bzimage(head, file.size(), "kernel K");
    if (!image.ok() || !check_bzimage_fits(image.value(), kRam, "kernel K").ok()) continue;
    ++taken;
    const BzImage& v = image.value();
    ASSERT_LE(v.payload_offset + v.payload_bytes, file.size());
    ASSERT_GE(v.load_address, kMiB);
    ASSERT_LE(v.payload_bytes, v.init_bytes);
    ASSERT_LE(v.load_address + v.init_bytes, kRam);
  }
  EXPECT_GT(taken, 100);
}

class LoadTest : public ::testing::Test {
 protected:
  void SetUp() override { source_.kernel = file_of(FakeKernel().bytes()); }

  void give_initrd(u64 bytes) {
    initrd_.assign(bytes, std::byte{0x5a});
    source_.initrd = file_of(initrd_);
  }
  std::string refusal() {
    const auto status = check_boot_source(source_, kRam);
    if (status.ok()) return "accepted";
    EXPECT_EQ(status.error().kind, ErrorKind::usage);
    EXPECT_FALSE(load_guest(source_, memory_, kRam, 1).ok());
    return status.error().message;
  }
  boot_params params() { return memory_.load<boot_params>(layout::kBootParams).value(); }

  std::vector<std::byte> ram_ = std::vector<std::byte>(kRam, std::byte{0xa5});
  hyperkernel::GuestMemory memory_{{{0, ram_.size(), ram_.data()}}};
  std::vector<std::byte> initrd_;
  BootSource source_{Fd(), "K", std::nullopt, "I", "console=ttyS0"};
};

TEST_F(LoadTest, PutsEverythingWhereTheZeroPageSays) {
  give_initrd(3 * kMiB + 5);
  const auto entry = load_guest(source_, memory_, kRam, 2);
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry.value(), (EntryState{EntryMode::long64, 0x100'0200, layout::kBootParams}));
  for (u64 i = 0; i < 10'000; ++i) {
    ASSERT_EQ(ram_[layout::kKernelLoad + i], static_cast<std::byte>(i % 251));
  }
  EXPECT_EQ(ram_[layout::kKernelLoad + 10'000], std::byte{0xa5});
  const boot_params p = params();  // packed: + makes a copy, which is aligned
  EXPECT_EQ(p.sentinel, 0);
  EXPECT_EQ(+p.hdr.type_of_loader, 0xff);
  EXPECT_EQ(+p.hdr.header, 0x5372'6448u);
  EXPECT_EQ(+p.hdr.ramdisk_image, 60 * kMiB);  // the highest multiple of 2 MiB with 3 MiB + 5 left
  EXPECT_EQ(+p.hdr.ramdisk_size, initrd_.size());
  EXPECT_EQ(std::memcmp(ram_.data() + p.hdr.ramdisk_image, initrd_.data(), initrd_.size()), 0);
  EXPECT_STREQ(reinterpret_cast<const char*>(ram_.data() + p.hdr.cmd_line_ptr), "console=ttyS0");
  EXPECT_EQ(std::memcmp(ram_.data() + p.acpi_rsdp_addr, "RSD PTR ", 8), 0);
  const auto map = memory_map(kRam);
  ASSERT_EQ(p.e820_entries, map.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    EXPECT_EQ(+p.e820_table[i].addr, map[i].gpa);
    EXPECT_EQ(+p.e820_table[i].size, map[i].bytes);
  }
}

TEST_F(LoadTest, LoadsTheSameAgainAfterTheGuestUsedItsMemory) {
  give_initrd(kMiB);
  ASSERT_TRUE(load_guest(source_, memory_, kRam, 2).ok());
  const boot_params first = params();
  std::ranges::fill(ram_, std::byte{0xee});
  ASSERT_TRUE(load_guest(source_, memory_, kRam, 2).ok());
  const boot_params second = params();
  EXPECT_EQ(std::memcmp(&first, &second, sizeof(first)), 0);
}

TEST_F(LoadTest, TheInitrdFallsBackToA4KPlaceAndIsNeverOnTheKernel) {
  give_initrd(40 * kMiB - 4096 + 1);  // kernel to 24 MiB, memory to 64 MiB
  ASSERT_TRUE(load_guest(source_, memory_, kRam, 1).ok());
  EXPECT_EQ(+params().hdr.ramdisk_image, 24 * kMiB);
  give_initrd(40 * kMiB + 1);
  EXPECT_EQ(refusal(),
            "initrd I: 41 MiB; between the kernel and the end of its memory only 40 MiB fit");
}

TEST_F(LoadTest, KeepsTheInitrdBelowItsLimit) {
  FakeKernel k;
  k.header.initrd_addr_max = 32 * kMiB - 1;
  source_.kernel = file_of(k.bytes());
  give_initrd(kMiB);
  ASSERT_TRUE(load_guest(source_, memory_, kRam, 1).ok());
  EXPECT_EQ(+params().hdr.ramdisk_image, 30 * kMiB);
}

TEST_F(LoadTest, RefusesFilesThatAreNone) {
  give_initrd(0);
  EXPECT_EQ(refusal(), "initrd I: the file is empty");
  source_.initrd = Fd::open("/", O_RDONLY | O_DIRECTORY).take();
  EXPECT_EQ(refusal(), "initrd I: not a regular file");
  source_.initrd.reset();
  source_.kernel = file_of(std::vector<std::byte>(100));
  EXPECT_EQ(refusal(), "kernel K: not a Linux bzImage (only 100 bytes)");
}

TEST_F(LoadTest, RefusesACommandLineThatTheKernelWouldCut) {
  source_.command_line.assign(2047, 'x');
  EXPECT_EQ(refusal(), "accepted");
  source_.command_line.assign(2048, 'x');
  EXPECT_EQ(refusal(), "kernel command line: 2048 bytes; this kernel takes at most 2047");
  source_.command_line = std::string("a\0b", 3);
  EXPECT_EQ(refusal(), "kernel command line: has a NUL byte at 1");
}

TEST(DebianKernelTest, Loads) {
  const char* cache = std::getenv("DVM_CACHE");
  const char* home = std::getenv("HOME");
  const std::string root = cache ? cache : std::string(home ? home : "") + "/.cache/dvm";
  const std::string path = root + "/kernels/cloud/vmlinuz";
  auto fd = Fd::open(path, O_RDONLY);
  if (!fd.ok()) GTEST_SKIP() << fd.error().message;
  const BootSource source{fd.take(), path, std::nullopt, "", "console=ttyS0"};
  std::vector<std::byte> ram(256 * kMiB);
  const hyperkernel::GuestMemory memory({{0, ram.size(), ram.data()}});
  const auto entry = load_guest(source, memory, ram.size(), 2);
  ASSERT_TRUE(entry.ok()) << entry.error().message;
  EXPECT_EQ(entry.value().rip, layout::kKernelLoad + 0x200);
  EXPECT_FALSE(check_boot_source(source, 32 * kMiB).ok());
}

}  // namespace
}  // namespace dvm::vmm
