#include "vmm/acpi/fadt.h"

#include <string_view>

#include "vmm/acpi/table.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

// ACPI 6.3: what Debian 12's iasl knows; nothing newer is used.
constexpr u8 kMajor = 6, kMinor = 3;
constexpr std::size_t kFadtBytes = 276;

// Offsets, ACPI 6.5 table 5.9. What is not named here is 0: no SMI command port (ACPI is always on,
// §5.2.9 "SMI_CMD"), no PM timer, no GPE blocks, no PM1b and PM2.
enum Offset : std::size_t {
  kProfile = 45,
  kSciInt = 46,
  kPm1aEvent = 56,
  kPm1aControl = 64,
  kPm1EventLength = 88,
  kPm1ControlLength = 89,
  kC2Latency = 96,
  kC3Latency = 98,
  kBootArch = 109,
  kFlags = 112,
  kResetRegister = 116,
  kResetValue = 128,
  kMinorVersion = 131,
  kXPm1aEvent = 148,
  kXPm1aControl = 172,
  kHypervisor = 268,
};

constexpr u8 kEnterpriseServer = 4;
constexpr u8 kPm1EventBytes = 4, kPm1ControlBytes = 2;
constexpr u16 kNoC2 = 0xfff, kNoC3 = 0xfff;  // over 100 and 1000 us: not supported
constexpr u8 kResetCommand = 6;              // port 0xcf9: RST_CPU and SYS_RST

// IAPC_BOOT_ARCH (table 5.11). Clear: 8042 (so no probe for it), CMOS RTC not present.
constexpr u16 kLegacyDevices = 1 << 0;  // COM1
constexpr u16 kVgaNotPresent = 1 << 2;

// Flags (table 5.10). Clear: PWR_BUTTON, so the power button is PM1's bit 8.
constexpr u32 kWbinvd = 1 << 0;
constexpr u32 kProcC1 = 1 << 2;
constexpr u32 kNoFixedSleepButton = 1 << 5;
constexpr u32 kNoFixedRtcWake = 1 << 6;
constexpr u32 kResetRegSup = 1 << 10;

constexpr u64 kVendor = 0x4d56'44;  // "DVM"

enum AccessSize : u8 { kByte = 1, kWord = 2 };

// A Generic Address Structure in I/O space (§5.2.3.2).
void put_io_register(TableBuilder& fadt, std::size_t offset, u16 port, u8 bytes, AccessSize size) {
  constexpr u8 kSystemIo = 1;
  fadt.put(offset, kSystemIo).put(offset + 1, static_cast<u8>(bytes * 8));
  fadt.put(offset + 3, u8{size}).put(offset + 4, u64{port});
}

}  // namespace

std::vector<u8> make_fadt(u64 facs, u64 dsdt) {
  TableBuilder fadt("FACP", kMajor);
  fadt.pad_to(kFadtBytes);
  // Either FIRMWARE_CTRL or its 64-bit form; of the DSDT's two addresses the OS takes the second.
  fadt.put(kFadtFirmwareCtrl, static_cast<u32>(facs));
  fadt.put(kFadtDsdt, static_cast<u32>(dsdt)).put(kFadtXDsdt, dsdt);
  fadt.put(kProfile, kEnterpriseServer);
  fadt.put(kSciInt, u16{layout::kSciGsi});
  fadt.put(kPm1aEvent, u32{layout::kPmEventPort}).put(kPm1EventLength, kPm1EventBytes);
  fadt.put(kPm1aControl, u32{layout::kPmControlPort}).put(kPm1ControlLength, kPm1ControlBytes);
  put_io_register(fadt, kXPm1aEvent, layout::kPmEventPort, kPm1EventBytes, kWord);
  put_io_register(fadt, kXPm1aControl, layout::kPmControlPort, kPm1ControlBytes, kWord);
  fadt.put(kC2Latency, kNoC2).put(kC3Latency, kNoC3);
  fadt.put(kBootArch, static_cast<u16>(kLegacyDevices | kVgaNotPresent));
  fadt.put(kFlags, kWbinvd | kProcC1 | kNoFixedSleepButton | kNoFixedRtcWake | kResetRegSup);
  put_io_register(fadt, kResetRegister, layout::kResetPort, 1, kByte);
  fadt.put(kResetValue, kResetCommand);
  fadt.put(kMinorVersion, kMinor);
  fadt.put(kHypervisor, kVendor);
  return fadt.finish();
}

std::vector<u8> make_facs() {
  constexpr std::size_t kBytes = 64, kLength = 4, kVersion = 32;
  constexpr std::string_view kSignature = "FACS";  // no common header, no checksum
  std::vector<u8> facs(kBytes);
  std::copy(kSignature.begin(), kSignature.end(), facs.begin());
  facs[kLength] = kBytes;
  facs[kVersion] = 2;
  return facs;
}

}  // namespace dvm::vmm
