// Every fixed guest address, port and interrupt number, each with its reason.
#pragma once

#include "fabric/types.h"

namespace dvm::vmm::layout {

// --- guest physical memory -------------------------------------------------------------------
// RAM below the PCI hole; what does not fit goes on at 4 GiB. 0xb0000000 is where q35 puts ECAM.
inline constexpr u64 kLowRamEnd = 0xb000'0000;
inline constexpr u64 kHighRamStart = 4 * kGiB;
inline constexpr u64 kEcamBase = 0xb000'0000;  // one bus: 32 slots x 8 functions x 4 KiB
inline constexpr u64 kEcamBytes = 1 * kMiB;
inline constexpr u64 kPciMmioBase = 0xc000'0000;  // window for BARs, up to the IOAPIC
inline constexpr u64 kPciMmioEnd = 0xfec0'0000;
inline constexpr u64 kIoApicBase = 0xfec0'0000;     // the address every PC chipset uses
inline constexpr u64 kErrorSource = 0xfed5'0000;    // a page of vmm/devices/error_source.h
inline constexpr u64 kGenerationId = 0xfed5'1000;   // a page of vmm/devices/generation_id.h
inline constexpr u64 kLocalApicBase = 0xfee0'0000;  // Intel SDM vol. 3A §11.4.1
// Four pages that VMX needs for real mode; below the largest firmware, where QEMU has them, too.
inline constexpr u64 kKvmIdentityMap = 0xfeff'c000;
inline constexpr u64 kKvmTss = 0xfeff'd000;
// The firmware's image ends at 4 GiB. The frames behind it are a huge page, so that a pool on
// hugetlbfs can hold them; only as much of it as the image is long is shown to the guest.
inline constexpr u64 kFirmwareWindow = 0xffe0'0000;
inline constexpr u64 kFirmwareWindowBytes = 2 * kMiB;
inline constexpr u64 kMaxFirmware = 1 * kMiB;
inline constexpr u64 kResetVector = 0xffff'fff0;  // Intel SDM vol. 3A §9.1.4
// Below 1 MiB a PC has adapters' ROMs, then the firmware's last 128 KiB. All of it is RAM here.
inline constexpr u64 kAdapterRoms = 0xc0000;
inline constexpr u64 kLowFirmwareMax = 128 * kKiB;
inline constexpr u64 kLowFirmwareEnd = 1 * kMiB;

// --- boot structures below 1 MiB (usable RAM that the kernel releases, but for the ACPI area) ----
inline constexpr u64 kBootGdt = 0x500;
inline constexpr u64 kBootParams = 0x7000;  // "zero page"
inline constexpr u64 kPvhStartInfo = 0x6000;
inline constexpr u64 kBootPageTables = 0x9000;  // 6 pages: PML4, PDPT, 4 PDs
inline constexpr u64 kBootStackTop = 0x6ff0;
inline constexpr u64 kCommandLine = 0x20000;
inline constexpr u64 kCommandLineMax = 0x10000;
inline constexpr u64 kEbda = 0x9fc00;        // end of conventional memory
inline constexpr u64 kAcpiTables = 0xe0000;  // where a BIOS keeps them; reserved in the e820 map
inline constexpr u64 kAcpiTablesEnd = 0x100000;
inline constexpr u64 kKernelLoad = 0x100'0000;  // 16 MiB: x86's default physical load address

// --- I/O ports ---------------------------------------------------------------------------------
inline constexpr u16 kPitPort = 0x40;     // 8254, 4 ports
inline constexpr u16 kPicPort = 0x20;     // 8259 master, 2 ports; with firmware only
inline constexpr u16 kPic2Port = 0xa0;    // and slave
inline constexpr u16 kElcrPort = 0x4d0;   // edge or level of the 8259s' inputs, 2 ports
inline constexpr u16 kPortB = 0x61;       // PIT channel 2 gate and output
inline constexpr u16 kPortA = 0x92;       // A20 gate and fast reset; with firmware only
inline constexpr u16 kDebugPort = 0x402;  // SeaBIOS's log
inline constexpr u16 kFwCfgPort = 0x510;  // QEMU's firmware configuration, 12 ports
inline constexpr u16 kI8042Data = 0x60;
inline constexpr u16 kI8042Command = 0x64;    // 0xfe pulses the reset line
inline constexpr u16 kRtcPort = 0x70;         // index and data
inline constexpr u16 kPostPort = 0x80;        // POST codes; Linux's io_delay
inline constexpr u16 kSerialPort = 0x3f8;     // COM1
inline constexpr u16 kPvpanicPort = 0x505;    // QEMU's address for the pvpanic device
inline constexpr u16 kPmEventPort = 0x600;    // PM1a status, enable
inline constexpr u16 kWatchdogPort = 0x620;   // 8 ports
inline constexpr u16 kPmControlPort = 0x604;  // PM1a control (the port q35 uses)
inline constexpr u16 kPciAddressPort = 0xcf8;
inline constexpr u16 kResetPort = 0xcf9;  // PIIX/ICH reset control; the FADT's RESET_REG
inline constexpr u16 kPciDataPort = 0xcfc;

// --- interrupts (GSI = IOAPIC pin) ---------------------------------------------------------------
inline constexpr u8 kIoApicPins = 24;
inline constexpr u8 kPitGsi = 2;  // ISA IRQ 0, by the MADT's interrupt source override
inline constexpr u8 kSerialGsi = 4;
inline constexpr u8 kErrorSourceGsi = 5;  // memory found bad; level triggered, active high
inline constexpr u8 kGenerationGsi =
    6;  // the generation id has changed; edge triggered, as ISA's are
inline constexpr u8 kRtcGsi = 8;
inline constexpr u8 kSciGsi = 9;        // ACPI; level triggered, active high
inline constexpr u8 kPciFirstGsi = 16;  // INTA..INTD of slot s: 16 + (s + pin) % 8

// --- limits ------------------------------------------------------------------------------------
inline constexpr u32 kMaxVcpus = 64;
inline constexpr u32 kMaxNodes = 16;
inline constexpr u64 kMinMemory = 64 * kMiB;    // less boots no stock kernel
inline constexpr u64 kMaxMemory = 1024 * kGiB;  // 40 physical address bits

}  // namespace dvm::vmm::layout
