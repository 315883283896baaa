// The firmware configuration device: what a guest can do to it, and what it finds there. Loader and
// SMBIOS files are read as SeaBIOS reads them.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#include "vmm/acpi/table_loader.h"
#include "vmm/firmware/fw_cfg_files.h"
#include "vmm/firmware/smbios.h"

namespace dvm::vmm {
namespace {

using Bytes = std::vector<u8>;

constexpr u64 kRam = 4 * kMiB;
constexpr u64 kAccess = 0x1000, kTo = 0x2000;

u64 little(std::span<const u8> bytes, std::size_t at, unsigned width) {
  u64 value = 0;
  for (unsigned i = width; i-- > 0;) value = value << 8 | bytes[at + i];
  return value;
}
u64 big(std::span<const u8> bytes, std::size_t at, unsigned width) {
  u64 value = 0;
  for (unsigned i = 0; i < width; ++i) value = value << 8 | bytes[at + i];
  return value;
}
u8 sum(std::span<const u8> bytes) {
  u8 total = 0;
  for (const u8 byte : bytes) total = static_cast<u8>(total + byte);
  return total;
}

class FwCfgTest : public ::testing::Test {
 protected:
  static FwCfgContents make(u32 vcpus = 4, u64 memory = 5 * kGiB) {
    auto made = make_fw_cfg({.vcpus = vcpus, .memory_bytes = memory, .boot_order = {"/a", "/b"}});
    EXPECT_TRUE(made.ok());
    return made.take();
  }
  void out(u16 offset, u8 size, u32 value) {
    fw_cfg_write(state_, contents_, memory_, offset, size, value);
  }
  u8 in_byte() { return static_cast<u8>(fw_cfg_read(state_, contents_, fw_cfg::kData, 1)); }
  Bytes in(std::size_t count) {
    Bytes bytes(count);
    for (u8& byte : bytes) byte = in_byte();
    return bytes;
  }
  // Returns the control field afterwards.
  u32 dma(u32 control, u32 length, u64 address) {
    for (unsigned i = 0; i < 4; ++i) ram_[kAccess + i] = std::byte(control >> (24 - 8 * i));
    for (unsigned i = 0; i < 4; ++i) ram_[kAccess + 4 + i] = std::byte(length >> (24 - 8 * i));
    for (unsigned i = 0; i < 8; ++i) ram_[kAccess + 8 + i] = std::byte(address >> (56 - 8 * i));
    out(fw_cfg::kDmaLow, 4, __builtin_bswap32(kAccess));
    return static_cast<u32>(big(bytes_at(kAccess, 4), 0, 4));
  }
  Bytes bytes_at(u64 gpa, std::size_t count) {
    Bytes bytes(count);
    std::memcpy(bytes.data(), &ram_[gpa], count);
    return bytes;
  }

  FwCfgContents contents_ = make();
  FwCfgState state_;
  std::vector<std::byte> ram_ = std::vector<std::byte>(kRam, std::byte{0x5a});
  hyperkernel::GuestMemory memory_{{{0, kRam, ram_.data()}}};
};

TEST_F(FwCfgTest, signature_id_and_counts) {
  out(fw_cfg::kSelector, 2, fw_cfg::kSignature);
  EXPECT_EQ(in(4), (Bytes{'Q', 'E', 'M', 'U'}));
  out(fw_cfg::kSelector, 2, fw_cfg::kId);
  EXPECT_EQ(in(4), (Bytes{3, 0, 0, 0}));
  out(fw_cfg::kSelector, 2, fw_cfg::kCpus);
  EXPECT_EQ(in(2), (Bytes{4, 0}));
  EXPECT_EQ(fw_cfg_read(state_, contents_, fw_cfg::kDmaHigh, 4), 0x554d4551u);  // "QEMU"
  EXPECT_EQ(fw_cfg_read(state_, contents_, fw_cfg::kDmaLow, 4), 0x47464320u);   // " CFG"
}

TEST_F(FwCfgTest, reads_past_the_end_are_zeros) {
  out(fw_cfg::kSelector, 2, fw_cfg::kSignature);
  EXPECT_EQ(in(6), (Bytes{'Q', 'E', 'M', 'U', 0, 0}));
  out(fw_cfg::kSelector, 2, 0x7777);
  EXPECT_EQ(in_byte(), 0);
  state_.offset = ~0u;
  EXPECT_EQ(in_byte(), 0);
  EXPECT_EQ(state_.offset, ~0u) << "the offset does not wrap";
}

TEST_F(FwCfgTest, the_directory_leads_to_every_file) {
  out(fw_cfg::kSelector, 2, fw_cfg::kFileDirectory);
  const u64 count = big(in(4), 0, 4);
  std::vector<std::string> names;
  for (u64 i = 0; i < count; ++i) {
    const Bytes entry = in(64);
    names.emplace_back(reinterpret_cast<const char*>(entry.data() + 8));
    const auto item = contents_.item(static_cast<u16>(big(entry, 4, 2)));
    EXPECT_EQ(item.size(), big(entry, 0, 4)) << names.back();
    EXPECT_GT(item.size(), 0u) << names.back();
  }
  EXPECT_TRUE(std::ranges::is_sorted(names));
  for (const char* name :
       {"bootorder", "etc/acpi/rsdp", "etc/acpi/tables", "etc/boot-fail-wait", "etc/e820",
        "etc/max-cpus", "etc/sercon-port", "etc/system-states", "etc/smbios/smbios-anchor",
        "etc/smbios/smbios-tables", "etc/table-loader", "etc/show-boot-menu"})
    EXPECT_TRUE(std::ranges::binary_search(names, name)) << name;
  EXPECT_EQ(*contents_.file("bootorder"), (Bytes{'/', 'a', '\n', '/', 'b', 0}));
}

TEST_F(FwCfgTest, dma_selects_reads_and_goes_on) {
  EXPECT_EQ(dma(fw_cfg::kSignature << 16 | fw_cfg::kDmaSelect | fw_cfg::kDmaRead, 2, kTo), 0u);
  EXPECT_EQ(bytes_at(kTo, 3), (Bytes{'Q', 'E', 0x5a}));
  EXPECT_EQ(dma(fw_cfg::kDmaSkip, 1, 0), 0u);
  EXPECT_EQ(dma(fw_cfg::kDmaRead, 3, kTo), 0u);
  EXPECT_EQ(bytes_at(kTo, 4), (Bytes{'U', 0, 0, 0x5a})) << "zeros after the end";
  EXPECT_EQ(dma(fw_cfg::kDmaRead, 0, ~0ull), 0u) << "nothing needs no address";
}

TEST_F(FwCfgTest, dma_refuses_what_is_not_ram_too_long_or_a_write) {
  using namespace fw_cfg;
  constexpr u32 kRead = kDmaSelect | kDmaRead;
  const auto before = ram_;
  EXPECT_EQ(dma(kRead, 4, kRam - 2), kDmaError);
  EXPECT_EQ(dma(kRead, 4, ~0ull - 1), kDmaError);
  EXPECT_EQ(dma(kRead, 0xffff'ffff, 0), kDmaError);
  EXPECT_EQ(dma(kRead, kMaxDmaBytes + 1, kTo), kDmaError);
  EXPECT_EQ(dma(kDmaSelect | kDmaWrite, 4, kTo), kDmaError);
  std::memcpy(&ram_[kAccess], &before[kAccess], 16);
  EXPECT_EQ(ram_, before) << "nothing else was written";
  out(kDmaLow, 4, __builtin_bswap32(kRam - 8));  // the access itself is not all RAM
  out(kDmaHigh, 4, 0xffff'ffff);
  out(kDmaLow, 4, 0);
  EXPECT_EQ(ram_, before);
}

TEST_F(FwCfgTest, e820_has_all_ram_and_no_overlap) {
  const Bytes& map = *contents_.file("etc/e820");
  ASSERT_EQ(map.size() % 20, 0u);
  u64 ram = 0, end = 0;
  for (std::size_t at = 0; at < map.size(); at += 20) {
    EXPECT_GE(little(map, at, 8), end);
    end = little(map, at, 8) + little(map, at + 8, 8);
    if (little(map, at + 16, 4) == 1) ram += little(map, at + 8, 8);
  }
  EXPECT_EQ(ram, 5 * kGiB);
}

// --- the loader's script, carried out as firmware does -------------------------------------------

class TableLoader {
 public:
  explicit TableLoader(const FwCfgContents& contents) {
    const Bytes& script = *contents.file(std::string(kTableLoaderFile));
    EXPECT_EQ(script.size() % sizeof(LoaderEntry), 0u);
    for (std::size_t at = 0; at < script.size(); at += sizeof(LoaderEntry)) {
      LoaderEntry entry;
      std::memcpy(&entry, &script[at], sizeof(entry));
      one(entry, contents);
    }
  }
  std::span<u8> bytes(u64 address) {
    for (auto& [name, file] : files_) {
      if (address >= file.address && address - file.address < file.bytes.size())
        return std::span(file.bytes).subspan(address - file.address);
    }
    return {};
  }
  u64 address(const std::string& name) { return files_.at(name).address; }

 private:
  struct File {
    u64 address;
    Bytes bytes;
  };
  void one(const LoaderEntry& entry, const FwCfgContents& contents) {
    const std::string name(entry.file.data());
    if (entry.command == LoaderCommand::allocate) {
      EXPECT_FALSE(files_.contains(name));
      EXPECT_TRUE(std::has_single_bit(entry.allocate.alignment));
      next_ = align_up(next_ + 16, entry.allocate.alignment);
      files_[name] = {next_, *contents.file(name)};
      next_ += files_[name].bytes.size();
      return;
    }
    ASSERT_TRUE(files_.contains(name)) << name;
    Bytes& file = files_[name].bytes;
    if (entry.command == LoaderCommand::add_pointer) {
      const u32 offset = entry.pointer.offset;
      ASSERT_LE(offset + entry.pointer.bytes, file.size());
      const std::string target(entry.pointer.target.data());
      const u64 value = little(file, offset, entry.pointer.bytes) + files_.at(target).address;
      for (unsigned i = 0; i < entry.pointer.bytes; ++i)
        file[offset + i] = static_cast<u8>(value >> (8 * i));
      return;
    }
    ASSERT_EQ(entry.command, LoaderCommand::add_checksum);
    const auto& c = entry.checksum;
    ASSERT_LE(c.start + c.bytes, file.size());
    file[c.offset] =
        static_cast<u8>(file[c.offset] - sum(std::span(file).subspan(c.start, c.bytes)));
  }
  std::map<std::string, File> files_;
  u64 next_ = 0x7ff0'0000;
};

TEST_F(FwCfgTest, the_loader_script_yields_valid_tables) {
  TableLoader loader(contents_);
  const auto rsdp = loader.bytes(loader.address(std::string(kAcpiRsdpFile)));
  ASSERT_EQ(rsdp.size(), 36u);
  EXPECT_EQ(sum(rsdp.first(20)), 0);
  EXPECT_EQ(sum(rsdp), 0);
  std::map<std::string, u64> found;
  const auto table = [&](u64 address) {
    const auto bytes = loader.bytes(address);
    EXPECT_GE(bytes.size(), 36u);
    const auto whole = bytes.first(little(bytes, 4, 4));
    const std::string signature(reinterpret_cast<const char*>(whole.data()), 4);
    EXPECT_EQ(sum(whole), 0) << signature;
    found[signature] = address;
    return whole;
  };
  const auto rsdt = table(little(rsdp, 16, 4));
  const auto xsdt = table(little(rsdp, 24, 8));
  ASSERT_EQ((rsdt.size() - 36) / 4, (xsdt.size() - 36) / 8);
  for (std::size_t i = 0; i < (rsdt.size() - 36) / 4; ++i) {
    EXPECT_EQ(little(rsdt, 36 + 4 * i, 4), little(xsdt, 36 + 8 * i, 8));
    table(little(xsdt, 36 + 8 * i, 8));
  }
  ASSERT_TRUE(found.contains("FACP") && found.contains("APIC") && found.contains("MCFG"));
  const auto fadt = loader.bytes(found["FACP"]);
  EXPECT_EQ(little(fadt, 40, 4), little(fadt, 140, 8));
  table(little(fadt, 40, 4));
  EXPECT_TRUE(found.contains("DSDT"));
  const u64 facs = little(fadt, 36, 4);
  EXPECT_EQ(facs % 64, 0u);
  EXPECT_EQ(std::memcmp(loader.bytes(facs).data(), "FACS", 4), 0);
  EXPECT_EQ(little(loader.bytes(found["APIC"]), 40, 4), 1u) << "PCAT_COMPAT: there are 8259s";
}

TEST(SmbiosTest, structures_are_whole_and_counted) {
  const SmbiosTables tables = make_smbios({.vcpus = 3, .memory_bytes = 5 * kGiB});
  EXPECT_EQ(tables.entry_point.size(), 0x1fu);
  EXPECT_EQ(sum(tables.entry_point), 0);
  EXPECT_EQ(sum(std::span(tables.entry_point).subspan(0x10)), 0);
  EXPECT_EQ(little(tables.entry_point, 0x16, 2), tables.structures.size());
  std::map<u8, int> types;
  u64 count = 0, longest = 0, mapped_kib = 0;
  std::vector<u64> handles;
  for (std::size_t at = 0; at < tables.structures.size();) {
    const auto rest = std::span(tables.structures).subspan(at);
    const u8 type = rest[0], length = rest[1];
    ++types[type];
    ++count;
    handles.push_back(little(rest, 2, 2));
    if (type == 19) mapped_kib += little(rest, 8, 4) - little(rest, 4, 4) + 1;
    std::size_t end = length;
    while (rest[end] != 0 || rest[end + 1] != 0) ++end;
    longest = std::max<u64>(longest, end + 2);
    at += end + 2;
  }
  EXPECT_EQ(count, little(tables.entry_point, 0x1c, 2));
  EXPECT_EQ(longest, little(tables.entry_point, 8, 2));
  EXPECT_EQ(mapped_kib, 5 * kGiB / kKiB);
  for (const int type : {0, 1, 3, 4, 16, 17, 19, 32, 127})
    EXPECT_GT(types[static_cast<u8>(type)], 0) << type;
  EXPECT_EQ(types[4], 3);
  std::ranges::sort(handles);
  EXPECT_EQ(std::ranges::adjacent_find(handles), handles.end());
}

TEST(SmbiosTest, the_largest_machine_fits) {
  const SmbiosTables tables = make_smbios({.vcpus = 64, .memory_bytes = 1024 * kGiB});
  EXPECT_LT(tables.structures.size(), 0x1'0000u);
}

}  // namespace
}  // namespace dvm::vmm
