#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "vmm/acpi/tables.h"
#include "vmm/devices/error_source.h"
#include "vmm/devices/watchdog.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

u8 sum(const Bytes& bytes, std::size_t count) {
  u8 total = 0;
  for (std::size_t i = 0; i < count; ++i)
    total = static_cast<u8>(total + static_cast<u8>(bytes[i]));
  return total;
}

// Finds the tables from guest memory alone, as an OS does.
class AcpiTest : public ::testing::Test {
 protected:
  void build(u32 vcpus, bool watchdog = false) {
    const auto rsdp = write_acpi_tables(memory_, {.vcpus = vcpus, .watchdog = watchdog});
    ASSERT_TRUE(rsdp.ok()) << rsdp.error().message;
    ASSERT_NO_FATAL_FAILURE(walk(rsdp.value()));
  }

  Bytes bytes_at(u64 gpa, u64 count) {
    Bytes bytes(count);
    EXPECT_TRUE(memory_.read(gpa, bytes).ok());
    return bytes;
  }

  void add(u64 gpa, const std::string& want = "") {
    const auto length = memory_.load<u32>(gpa + 4).value();
    ASSERT_LE(gpa + length, layout::kAcpiTablesEnd);
    Bytes bytes = bytes_at(gpa, length);
    const std::string signature(reinterpret_cast<const char*>(bytes.data()), 4);
    if (!want.empty()) {
      EXPECT_EQ(signature, want);
    }
    if (signature != "FACS") {
      EXPECT_EQ(sum(bytes, length), 0) << signature;
    }
    address_[signature] = gpa;
    tables_[signature] = std::move(bytes);
  }

  void walk(u64 rsdp) {
    // Legacy search (ACPI 6.5 §5.2.5.1): on a 16-byte boundary in the BIOS area.
    EXPECT_TRUE(rsdp % 16 == 0 && rsdp >= 0xe0000 && rsdp < 0x100000);
    const Bytes root = bytes_at(rsdp, 36);
    ASSERT_EQ(std::memcmp(root.data(), "RSD PTR ", 8), 0);
    EXPECT_EQ(sum(root, 20), 0);
    EXPECT_EQ(sum(root, 36), 0);
    const u64 rsdt = memory_.load<u32>(rsdp + 16).value();
    const u64 xsdt = memory_.load<u64>(rsdp + 24).value();
    ASSERT_NO_FATAL_FAILURE(add(rsdt, "RSDT"));
    ASSERT_NO_FATAL_FAILURE(add(xsdt, "XSDT"));
    const u64 count = (tables_["XSDT"].size() - 36) / 8;
    ASSERT_EQ(count, (tables_["RSDT"].size() - 36) / 4);
    for (u64 i = 0; i < count; ++i) {
      const u64 gpa = memory_.load<u64>(xsdt + 36 + 8 * i).value();
      EXPECT_EQ(memory_.load<u32>(rsdt + 36 + 4 * i).value(), gpa);
      ASSERT_NO_FATAL_FAILURE(add(gpa));
    }
    ASSERT_NO_FATAL_FAILURE(add(field<u32>("FACP", 36), "FACS"));
    ASSERT_NO_FATAL_FAILURE(add(field<u64>("FACP", 140), "DSDT"));
    EXPECT_EQ(field<u32>("FACP", 40), field<u64>("FACP", 140));
    EXPECT_EQ(address_["FACS"] % 64, 0u);
  }

  template <typename T>
  T field(const std::string& signature, u64 offset) {
    return memory_.load<T>(address_.at(signature) + offset).value();
  }

  std::vector<std::byte> ram_ = std::vector<std::byte>(kMiB, std::byte{0xa5});
  hyperkernel::GuestMemory memory_{{{0, ram_.size(), ram_.data()}}};
  std::map<std::string, Bytes> tables_;
  std::map<std::string, u64> address_;
};

TEST_F(AcpiTest, AnOsFindsEveryTableForEveryNumberOfVcpus) {
  for (const u32 vcpus : {1u, 2u, 63u, 64u, 254u, 255u}) {
    tables_.clear();
    ASSERT_NO_FATAL_FAILURE(build(vcpus));
    for (const char* s : {"FACP", "APIC", "MCFG", "DSDT", "FACS"}) EXPECT_EQ(tables_.count(s), 1u);
  }
  EXPECT_FALSE(build_acpi_tables({.vcpus = 0}).ok());
  EXPECT_FALSE(build_acpi_tables({.vcpus = 256}).ok());
}

// As Linux's acpi_watchdog_init and wdat_wdt look at it.
TEST_F(AcpiTest, AWatchdogIsToldOfWhereThereIsOne) {
  ASSERT_NO_FATAL_FAILURE(build(1));
  EXPECT_EQ(tables_.count("WDAT"), 0u);
  tables_.clear();
  ASSERT_NO_FATAL_FAILURE(build(1, true));
  ASSERT_EQ(tables_.count("WDAT"), 1u);
  EXPECT_EQ(field<u32>("WDAT", 36), 32u);
  EXPECT_EQ(field<u16>("WDAT", 40), 0xffu) << "no PCI function";
  EXPECT_EQ(field<u8>("WDAT", 42), 0xffu);
  EXPECT_EQ(field<u32>("WDAT", 48), watchdog::kPeriodMs);
  EXPECT_EQ(field<u8>("WDAT", 60) & 1, 1) << "enabled";
  const u32 entries = field<u32>("WDAT", 64);
  ASSERT_EQ(tables_["WDAT"].size(), 68 + 24 * entries);
  for (u32 i = 0; i < entries; ++i) {
    const u64 at = 68 + 24 * i;
    EXPECT_EQ(field<u8>("WDAT", at + 4), 1u) << "an I/O port";
    EXPECT_GE(field<u64>("WDAT", at + 8), layout::kWatchdogPort);
    EXPECT_LE(field<u64>("WDAT", at + 8) + field<u8>("WDAT", at + 7),
              layout::kWatchdogPort + watchdog::kBytes);
  }
}

TEST_F(AcpiTest, TablesDoNotOverlap) {
  auto tables = build_acpi_tables({.vcpus = 255});
  ASSERT_TRUE(tables.ok());
  std::ranges::sort(tables.value(), {}, &AcpiTable::gpa);
  u64 end = layout::kAcpiTables;
  for (const AcpiTable& t : tables.value()) {
    EXPECT_GE(t.gpa, end) << t.signature;
    end = t.gpa + t.bytes.size();
  }
  EXPECT_LE(end, layout::kAcpiTablesEnd);
}

TEST_F(AcpiTest, MadtNamesEveryCpuOnceAndTheInterruptOverrides) {
  build(64);
  const Bytes& madt = tables_["APIC"];
  EXPECT_EQ(field<u32>("APIC", 36), 0xfee0'0000u);
  EXPECT_EQ(field<u32>("APIC", 40), 0u);  // PCAT_COMPAT
  std::map<u8, u32> kinds;
  u64 at = 44;
  for (; at < madt.size(); at += static_cast<u8>(madt[at + 1])) {
    const u8 kind = static_cast<u8>(madt[at]);
    ASSERT_GE(static_cast<u8>(madt[at + 1]), 6);
    if (kind == 0) {
      EXPECT_EQ(field<u8>("APIC", at + 2), kinds[0]);
      EXPECT_EQ(field<u8>("APIC", at + 3), kinds[0]);
      EXPECT_EQ(field<u32>("APIC", at + 4), 1u);
    }
    if (kind == 1) {
      EXPECT_EQ(field<u32>("APIC", at + 4), 0xfec0'0000u);
    }
    if (kind == 2 && field<u8>("APIC", at + 3) == 0) {
      EXPECT_EQ(field<u32>("APIC", at + 4), 2u);
    }
    if (kind == 2 && field<u8>("APIC", at + 3) == 9) {
      EXPECT_EQ(field<u32>("APIC", at + 4), 9u);
      EXPECT_EQ(field<u16>("APIC", at + 8), 0xdu);
    }
    if (kind == 2 && field<u8>("APIC", at + 3) == 5) {
      EXPECT_EQ(field<u32>("APIC", at + 4), 5u);
      EXPECT_EQ(field<u16>("APIC", at + 8), 0xdu);
    }
    ++kinds[kind];
  }
  EXPECT_EQ(at, madt.size());
  EXPECT_EQ(kinds, (std::map<u8, u32>{{0, 64}, {1, 1}, {2, 3}, {4, 1}}));
}

TEST_F(AcpiTest, FadtAndMcfgSayWhatTheDevicesAre) {
  build(2);
  EXPECT_EQ(tables_["FACP"].size(), 276u);
  EXPECT_EQ(field<u16>("FACP", 46), 9);   // SCI
  EXPECT_EQ(field<u32>("FACP", 48), 0u);  // SMI_CMD
  EXPECT_EQ(field<u32>("FACP", 56), 0x600u);
  EXPECT_EQ(field<u32>("FACP", 64), 0x604u);
  EXPECT_EQ(field<u32>("FACP", 76), 0u);  // PM timer
  EXPECT_EQ(field<u16>("FACP", 109), 0x5);
  EXPECT_EQ(field<u32>("FACP", 112), 0x465u);
  EXPECT_EQ(field<u64>("FACP", 120), 0xcf9u);
  EXPECT_EQ(field<u8>("FACP", 128), 6);
  EXPECT_EQ(field<u64>("FACP", 152), 0x600u);
  EXPECT_EQ(field<u64>("FACP", 176), 0x604u);
  EXPECT_EQ(tables_["MCFG"].size(), 60u);
  EXPECT_EQ(field<u64>("MCFG", 44), layout::kEcamBase);
  EXPECT_EQ(field<u8>("MCFG", 55), 0);  // last bus
  EXPECT_EQ(tables_["HEST"].size(), 104u);
  EXPECT_EQ(field<u16>("HEST", 40), 9);  // a generic hardware error source
  EXPECT_EQ(field<u8>("HEST", 47), 1);   // enabled
  EXPECT_EQ(field<u64>("HEST", 64), layout::kErrorSource);
  EXPECT_EQ(field<u8>("HEST", 72), 1);  // notified by an interrupt:
  EXPECT_EQ(field<u32>("HEST", 80), 5u);
  EXPECT_EQ(field<u32>("HEST", 100), error_source::kBlockBytes);
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string run(const std::string& command, const fs::path& output) {
  const int status = std::system((command + " >" + output.string() + " 2>&1").c_str());
  return status == 0 ? contents(output) : "failed: " + contents(output);
}

// Intel's compiler takes each table apart, has nothing to say when it puts it together again, and
// makes the same bytes of it (but for its own name in the header).
TEST_F(AcpiTest, IaslAcceptsEveryTable) {
  if (std::system("command -v iasl >/dev/null 2>&1") != 0) GTEST_SKIP() << "iasl is not installed";
  build(64);
  std::string pattern = (fs::temp_directory_path() / "dvm-acpi-XXXXXX").string();
  const fs::path folder = ::mkdtemp(pattern.data());
  for (const auto& [signature, bytes] : tables_) {
    SCOPED_TRACE(signature);
    const std::string base = (folder / signature).string();
    const std::string before(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::ofstream(base + ".dat", std::ios::binary) << before;
    const std::string apart = run("iasl -d " + base + ".dat", folder / "out");
    EXPECT_EQ(apart.find("failed"), std::string::npos) << apart;
    EXPECT_EQ(apart.find("Warning"), std::string::npos) << apart;
    const std::string together = run("iasl -oa -p " + base + "2 " + base + ".dsl", folder / "out");
    EXPECT_NE(together.find(" 0 Errors, 0 Warnings, 0 Remarks"), std::string::npos) << together;
    const std::string after = contents(base + "2.aml");
    constexpr std::size_t kHeaderBytes = 36;
    ASSERT_EQ(after.size(), before.size());
    EXPECT_EQ(after.substr(kHeaderBytes), before.substr(kHeaderBytes));
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace dvm::vmm
