#include "vmm/firmware/fw_cfg_files.h"

#include <fmt/format.h>

#include "vmm/acpi/table_loader.h"
#include "vmm/boot/e820.h"
#include "vmm/firmware/smbios.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

template <typename T>
std::vector<u8> number(T value) {
  std::vector<u8> bytes;
  for (unsigned i = 0; i < sizeof(T); ++i)
    bytes.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
  return bytes;
}

// QEMU's struct e820_entry, packed: address, length, type.
std::vector<u8> e820_file(u64 memory_bytes) {
  std::vector<u8> bytes;
  const auto add = [&bytes](const std::vector<u8>& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  for (const E820Entry& entry : firmware_memory_map(memory_bytes)) {
    add(number(entry.gpa));
    add(number(entry.bytes));
    add(number(static_cast<u32>(entry.type)));
  }
  return bytes;
}

std::vector<u8> script_bytes(const std::vector<LoaderEntry>& script) {
  const auto bytes = std::as_bytes(std::span(script));
  const auto* first = reinterpret_cast<const u8*>(bytes.data());
  return {first, first + bytes.size()};
}

std::vector<u8> boot_order_file(const std::vector<std::string>& paths) {
  std::vector<u8> bytes;
  for (const std::string& path : paths) {
    if (!bytes.empty()) bytes.push_back('\n');
    bytes.insert(bytes.end(), path.begin(), path.end());
  }
  bytes.push_back(0);
  return bytes;
}

// Sleep states S0 to S5: bit 7 says supported, the rest is the SLP_TYP.
const std::vector<u8> kSystemStates = {0x80, 0, 0, 0, 0, 0x85};
constexpr u32 kForEver = ~u32{0};

std::vector<FwCfgFile> small_files() {
  return {
      {"etc/system-states", kSystemStates},
      // Nothing to boot: say so and wait, rather than try again every minute.
      {"etc/boot-fail-wait", number(kForEver)},
      // Where the firmware, and through it a boot loader, has its screen: there is no VGA.
      {"etc/sercon-port", number(u64{layout::kSerialPort})},
      // No wait for a key that would bring up a menu: it would be 2.5 s of every boot.
      {"etc/show-boot-menu", number(u16{0})},
      {"etc/boot-menu-wait", number(u16{0})},
  };
}

}  // namespace

std::string disk_path(u8 pci_slot) {
  return fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0", pci_slot);
}

Result<FwCfgContents> make_fw_cfg(const FirmwareMachine& machine) {
  DVM_ASSIGN(
      auto acpi,
      make_loader_files({.vcpus = machine.vcpus, .watchdog = machine.watchdog, .firmware = true}));
  auto smbios = make_smbios({.vcpus = machine.vcpus, .memory_bytes = machine.memory_bytes});
  std::vector<FwCfgFile> files = small_files();
  files.push_back({"etc/e820", e820_file(machine.memory_bytes)});
  files.push_back({"etc/max-cpus", number(static_cast<u16>(machine.vcpus))});
  files.push_back({std::string(kAcpiTablesFile), std::move(acpi.tables)});
  files.push_back({std::string(kAcpiRsdpFile), std::move(acpi.rsdp)});
  files.push_back({std::string(kTableLoaderFile), script_bytes(acpi.script)});
  files.push_back({"etc/smbios/smbios-anchor", std::move(smbios.entry_point)});
  files.push_back({"etc/smbios/smbios-tables", std::move(smbios.structures)});
  if (!machine.boot_order.empty())
    files.push_back({"bootorder", boot_order_file(machine.boot_order)});
  std::vector<FwCfgItem> items = {
      {fw_cfg::kUuid, std::vector<u8>(16)},
      {fw_cfg::kRamSize, number(machine.memory_bytes)},
      {fw_cfg::kNoGraphic, number(u16{1})},
      {fw_cfg::kCpus, number(static_cast<u16>(machine.vcpus))},
      {fw_cfg::kBootMenu, number(u16{0})},
      {fw_cfg::kMaxCpus, number(static_cast<u16>(machine.vcpus))},
  };
  return FwCfgContents(std::move(items), std::move(files));
}

}  // namespace dvm::vmm
