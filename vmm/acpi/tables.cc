#include "vmm/acpi/tables.h"

#include <algorithm>
#include <span>

#include "vmm/acpi/dsdt.h"
#include "vmm/acpi/fadt.h"
#include "vmm/acpi/hest.h"
#include "vmm/acpi/madt.h"
#include "vmm/acpi/mcfg.h"
#include "vmm/acpi/table.h"
#include "vmm/acpi/wdat.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

std::vector<u8> make_rsdp(u64 rsdt, u64 xsdt) {
  constexpr std::string_view kSignature = "RSD PTR ";
  std::vector<u8> bytes(kRsdpBytes);
  const auto put = [&bytes](std::size_t offset, u64 value, unsigned count) {
    for (unsigned i = 0; i < count; ++i) bytes[offset + i] = static_cast<u8>(value >> (8 * i));
  };
  std::copy(kSignature.begin(), kSignature.end(), bytes.begin());
  std::copy(kOemId.begin(), kOemId.end(), bytes.begin() + 9);
  bytes[15] = 2;  // revision
  put(kRsdpRsdt, rsdt, 4);
  put(20, kRsdpBytes, 4);
  put(kRsdpXsdt, xsdt, 8);
  bytes[kRsdpChecksum] = acpi_checksum(bytes.data(), kRsdpAcpi1Bytes);
  bytes[kRsdpExtendedChecksum] = acpi_checksum(bytes.data(), kRsdpBytes);
  return bytes;
}

// Gives out addresses one after the other.
class Area {
 public:
  explicit Area(u64 base) : next_(base) {}
  u64 place(std::vector<AcpiTable>& tables, std::string signature, std::vector<u8> bytes) {
    const u64 gpa = next_;
    next_ = align_up(gpa + bytes.size(), kAcpiAlignment);
    tables.push_back({std::move(signature), gpa, std::move(bytes)});
    return gpa;
  }
  u64 end() const { return next_; }

 private:
  u64 next_;
};

}  // namespace

Result<std::vector<AcpiTable>> build_acpi_tables(const AcpiConfig& config) {
  if (config.vcpus == 0 || config.vcpus > kMaxAcpiVcpus) {
    return usage_error("{} vCPUs; the ACPI tables describe 1 to {}", config.vcpus, kMaxAcpiVcpus);
  }
  std::vector<AcpiTable> tables;
  Area area(config.base);
  const u64 facs = area.place(tables, "FACS", make_facs());
  const u64 dsdt = area.place(tables, "DSDT", make_dsdt(config.vcpus, config.firmware));
  std::vector<u64> roots;  // what RSDT and XSDT point to
  roots.push_back(area.place(tables, "FACP", make_fadt(facs, dsdt)));
  roots.push_back(area.place(tables, "APIC", make_madt(config.vcpus, config.firmware)));
  roots.push_back(area.place(tables, "MCFG", make_mcfg()));
  roots.push_back(area.place(tables, "HEST", make_hest()));
  if (config.watchdog) roots.push_back(area.place(tables, "WDAT", make_wdat()));

  TableBuilder rsdt("RSDT", 1);
  TableBuilder xsdt("XSDT", 1);
  for (const u64 gpa : roots) {
    rsdt.add(static_cast<u32>(gpa));
    xsdt.add(gpa);
  }
  const u64 rsdt_gpa = area.place(tables, "RSDT", rsdt.finish());
  const u64 xsdt_gpa = area.place(tables, "XSDT", xsdt.finish());
  area.place(tables, "RSD PTR ", make_rsdp(rsdt_gpa, xsdt_gpa));
  std::rotate(tables.begin(), tables.end() - 1, tables.end());
  constexpr u64 kRoom = layout::kAcpiTablesEnd - layout::kAcpiTables;
  if (area.end() - config.base > kRoom) {
    return error("the ACPI tables take {:#x} bytes; there is room for {:#x}",
                 area.end() - config.base, kRoom);
  }
  return tables;
}

Result<u64> write_acpi_tables(const hyperkernel::GuestMemory& memory, const AcpiConfig& config) {
  DVM_ASSIGN(const auto tables, build_acpi_tables(config));
  for (const AcpiTable& table : tables) {
    DVM_TRY(memory.write(table.gpa, std::as_bytes(std::span(table.bytes))));
  }
  return tables.front().gpa;
}

}  // namespace dvm::vmm
