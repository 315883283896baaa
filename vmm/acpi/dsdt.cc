#include "vmm/acpi/dsdt.h"

#include <fmt/format.h>

#include "vmm/acpi/aml.h"
#include "vmm/acpi/resource.h"
#include "vmm/acpi/table.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/layout.h"
#include "vmm/pci/host_bridge.h"

namespace dvm::vmm {
namespace {

using aml::Code;
using enum aml::Trigger;
using enum aml::Polarity;

constexpr u8 kPciSlots = 32, kPciPins = 4;  // INTA..INTD
constexpr u16 kPciConfigBytes = 8;          // 0xcf8..0xcff

// Pins count from 0 here, from 1 in configuration space. Source 0 means a GSI, which the OS then
// takes as level triggered and active low (ACPI 6.5 §6.2.13). The address covers all functions of
// the slot.
Code pci_routing() {
  std::vector<Code> entries;
  for (u8 slot = 0; slot < kPciSlots; ++slot) {
    for (u8 pin = 0; pin < kPciPins; ++pin) {
      const u8 gsi = intx_gsi(slot, static_cast<u8>(pin + 1));
      entries.push_back(aml::package({aml::integer(u64{slot} << 16 | 0xffff), aml::integer(pin),
                                      aml::integer(0), aml::integer(gsi)}));
    }
  }
  return aml::package(entries);
}

// One bus only: the OS need not look for 255 others, each look an exit.
Code pci_windows() {
  return aml::resource_template({
      aml::bus_window(0, 0),
      aml::io_ports(layout::kPciAddressPort, kPciConfigBytes),
      aml::io_window(0, layout::kPciAddressPort - 1),
      aml::io_window(layout::kPciAddressPort + kPciConfigBytes, 0xffff),
      aml::memory_window32(static_cast<u32>(layout::kPciMmioBase),
                           static_cast<u32>(layout::kPciMmioEnd - 1)),
  });
}

Code pci_root() {
  return aml::device("PCI0", aml::join({
                                 aml::name("_HID", aml::eisa_id("PNP0A08")),  // PCI Express root
                                 aml::name("_CID", aml::eisa_id("PNP0A03")),  // PCI root
                                 aml::name("_SEG", aml::integer(0)),
                                 aml::name("_BBN", aml::integer(0)),
                                 aml::name("_UID", aml::integer(0)),
                                 aml::name("_CRS", pci_windows()),
                                 aml::name("_PRT", pci_routing()),
                             }));
}

// A device that has an id, an instance number and resources.
Code simple_device(std::string_view name, const Code& hid, u32 uid,
                   std::initializer_list<Code> resources) {
  return aml::device(name, aml::join({
                               aml::name("_HID", hid),
                               aml::name("_UID", aml::integer(uid)),
                               aml::name("_CRS", aml::resource_template(resources)),
                           }));
}

// Linux takes ECAM into use only if a motherboard resource reserves it (PCI Firmware Specification
// 3.3 §4.1.2).
Code motherboard() {
  return simple_device("MBRD", aml::eisa_id("PNP0C02"), 0,
                       {aml::memory32(static_cast<u32>(layout::kEcamBase),
                                      static_cast<u32>(layout::kEcamBytes), true)});
}

Code serial_port() {
  return simple_device("COM1", aml::eisa_id("PNP0501"), 1,
                       {aml::io_ports(layout::kSerialPort, 8),
                        aml::interrupt(layout::kSerialGsi, edge, active_high)});
}

Code real_time_clock() {
  return simple_device(
      "RTC0", aml::eisa_id("PNP0B00"), 0,
      {aml::io_ports(layout::kRtcPort, 2), aml::interrupt(layout::kRtcGsi, edge, active_high)});
}

// QEMU's docs/specs/pvpanic: present, enabled, shown and working.
Code panic_device() {
  return aml::device(
      "PEVT",
      aml::join({
          aml::name("_HID", aml::string("QEMU0001")),
          aml::name("_CRS", aml::resource_template({aml::io_ports(layout::kPvpanicPort, 1)})),
          aml::name("_STA", aml::integer(0xf)),
      }));
}

// "Virtual Machine Generation ID": the number's address, in halves. A generic event device tells
// that it has changed (ACPI 6.5 §5.6.9): its _EVT is called for each of its interrupts, of which
// there is one.
Code generation_id() {
  constexpr u64 kChanged = 0x80;
  return aml::join(
      {aml::device("VGEN",
                   aml::join({aml::name("_HID", aml::string("DVM0001")),
                              aml::name("_CID", aml::string("VM_Gen_Counter")),
                              aml::name("_DDN", aml::string("VM_Gen_Counter")),
                              aml::name("ADDR", aml::package({aml::integer(layout::kGenerationId),
                                                              aml::integer(0)}))})),
       aml::device("GED0",
                   aml::join({aml::name("_HID", aml::string("ACPI0013")),
                              aml::name("_UID", aml::integer(0)),
                              aml::name("_CRS", aml::resource_template({aml::interrupt(
                                                    layout::kGenerationGsi, edge, active_high)})),
                              aml::method("_EVT", 1, aml::notify("\\_SB.VGEN", kChanged))}))});
}

// QEMU's docs/specs/fw_cfg: how an OS finds it once the firmware has gone.
Code firmware_configuration() {
  return aml::device("FWCF", aml::join({
                                 aml::name("_HID", aml::string("QEMU0002")),
                                 aml::name("_CRS", aml::resource_template({aml::io_ports(
                                                       layout::kFwCfgPort, fw_cfg::kPorts)})),
                                 aml::name("_STA", aml::integer(0xb)),
                             }));
}

// _UID is the processor UID of the MADT (ACPI 6.5 §8.4).
Code processors(u32 vcpus) {
  std::vector<Code> devices;
  for (u32 i = 0; i < vcpus; ++i) {
    devices.push_back(aml::device(fmt::format("C{:03X}", i),
                                  aml::join({aml::name("_HID", aml::string("ACPI0007")),
                                             aml::name("_UID", aml::integer(i))})));
  }
  return aml::join(devices);
}

// Soft off is SLP_TYP 5: PM1a control then gets 5 << 10 | SLP_EN = 0x3400 (ACPI 6.5 §7.4.2.6).
Code soft_off() {
  constexpr u8 kSleepType = 5;
  return aml::name("\\_S5", aml::package({aml::integer(kSleepType), aml::integer(kSleepType),
                                          aml::integer(0), aml::integer(0)}));
}

}  // namespace

std::vector<u8> make_dsdt(u32 vcpus, bool has_fw_cfg) {
  constexpr u8 kRevision = 2;  // integers are 64 bits wide
  const Code devices = aml::join(
      {pci_root(), motherboard(), serial_port(), real_time_clock(), panic_device(), generation_id(),
       has_fw_cfg ? firmware_configuration() : Code(), processors(vcpus)});
  return TableBuilder("DSDT", kRevision)
      .add_bytes(aml::scope("\\_SB", devices))
      .add_bytes(soft_off())
      .finish();
}

}  // namespace dvm::vmm
