#include "vmm/firmware/smbios.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "vmm/acpi/table.h"
#include "vmm/boot/e820.h"

namespace dvm::vmm {
namespace {

// Structure types (DSP0134 §7).
enum Type : u8 {
  kFirmwareInformation = 0,
  kSystem = 1,
  kChassis = 3,
  kProcessor = 4,
  kMemoryArray = 16,
  kMemoryDevice = 17,
  kMemoryArrayAddress = 19,
  kSystemBoot = 32,
  kEndOfTable = 127,
};

// Handles: each structure's own number. Those of several start here and count up.
constexpr u16 kFirmwareHandle = 0x0000, kSystemHandle = 0x0100, kChassisHandle = 0x0300;
constexpr u16 kProcessorHandle = 0x0400, kArrayHandle = 0x1000, kDeviceHandle = 0x1100;
constexpr u16 kArrayAddressHandle = 0x1300, kBootHandle = 0x2000, kEndHandle = 0x7f00;
constexpr u16 kNoHandle = 0xffff, kNotProvided = 0xfffe;
constexpr u8 kOther = 1;

constexpr std::string_view kMaker = "dvm";
constexpr std::string_view kVersion = "1";

// A structure: a header, fields, then the strings that fields number from 1 (§6.1.3).
class Structure {
 public:
  Structure(Type type, u16 handle) { add(type).add(u8{0}).add(handle); }

  template <typename T>
  Structure& add(T value) {
    for (unsigned i = 0; i < sizeof(T); ++i)
      bytes_.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
    return *this;
  }
  Structure& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  Structure& text(std::string_view value) {
    strings_.insert(strings_.end(), value.begin(), value.end());
    strings_.push_back(0);
    return add(++count_);
  }
  std::vector<u8> finish() {
    bytes_[1] = static_cast<u8>(bytes_.size());
    bytes_.insert(bytes_.end(), strings_.begin(), strings_.end());
    if (count_ == 0) bytes_.push_back(0);  // no strings: two zeros
    bytes_.push_back(0);
    return std::move(bytes_);
  }

 private:
  std::vector<u8> bytes_, strings_;
  u8 count_ = 0;
};

Structure firmware_information() {  // §7.1
  constexpr u64 kCharacteristicsUnsupported = 1 << 3;
  constexpr u8 kVirtualMachine = 1 << 4;  // second extension byte
  Structure s(kFirmwareInformation, kFirmwareHandle);
  s.text(kMaker).text(kVersion).add(u16{0xe000}).text("01/01/2024").add(u8{0});
  s.add(kCharacteristicsUnsupported).add(u8{0}).add(kVirtualMachine);
  s.add(u8{0}).add(u8{0}).add(u8{0xff}).add(u8{0xff});  // releases: not known
  return s;
}

Structure system() {  // §7.2; a UUID of zeros is none
  constexpr u8 kPowerSwitch = 6;
  Structure s(kSystem, kSystemHandle);
  s.text(kMaker).text("Distributed virtual machine").text(kVersion).add(u8{0}).zeros(16);
  s.add(kPowerSwitch).add(u8{0}).add(u8{0});
  return s;
}

Structure chassis() {  // §7.4
  constexpr u8 kSafe = 3, kNoSecurity = 3;
  Structure s(kChassis, kChassisHandle);
  s.text(kMaker).add(kOther).text(kVersion).add(u8{0}).add(u8{0});
  s.add(kSafe).add(kSafe).add(kSafe).add(kNoSecurity);
  s.add(u32{0}).add(u8{0}).add(u8{0}).add(u8{0}).add(u8{0}).add(u8{0});
  return s;
}

Structure processor(u32 index) {  // §7.5: each vCPU a socket of its own, as the MADT has it
  constexpr u8 kCentral = 3, kEnabledAndPopulated = 0x41;
  constexpr u16 k64Bit = 1 << 2;
  Structure s(kProcessor, static_cast<u16>(kProcessorHandle + index));
  const std::string socket = "CPU " + std::to_string(index);
  s.text(socket).add(kCentral).add(kOther).text(kMaker).zeros(8).text(kVersion);
  s.add(u8{0}).add(u16{0}).add(u16{0}).add(u16{0});  // voltage, clocks: unknown
  s.add(kEnabledAndPopulated).add(kOther);
  s.add(kNoHandle).add(kNoHandle).add(kNoHandle);                       // caches
  s.add(u8{0}).add(u8{0}).add(u8{0}).add(u8{1}).add(u8{1}).add(u8{1});  // cores, enabled, threads
  s.add(k64Bit).add(u16{kOther});
  return s;
}

Structure memory_array(u64 bytes) {  // §7.17
  constexpr u8 kSystemMemory = 3, kMultiBitEcc = 6;
  constexpr u32 kSeeExtended = 0x8000'0000;
  Structure s(kMemoryArray, kArrayHandle);
  const u64 kib = bytes / kKiB;
  s.add(kOther).add(kSystemMemory).add(kMultiBitEcc);
  s.add(kib < kSeeExtended ? static_cast<u32>(kib) : kSeeExtended).add(kNotProvided).add(u16{1});
  s.add(kib < kSeeExtended ? u64{0} : bytes);
  return s;
}

Structure memory_device(u64 bytes) {  // §7.18
  constexpr u16 kSeeExtended = 0x7fff, kOtherDetail = 1 << 1;
  constexpr u8 kDimm = 9, kRam = 7;
  const u64 mib = bytes / kMiB;
  Structure s(kMemoryDevice, kDeviceHandle);
  s.add(kArrayHandle).add(kNotProvided).add(u16{0xffff}).add(u16{0xffff});
  s.add(mib < kSeeExtended ? static_cast<u16>(mib) : kSeeExtended).add(kDimm).add(u8{0});
  s.text("DIMM 0").add(u8{0}).add(kRam).add(kOtherDetail).add(u16{0}).text(kMaker);
  s.add(u8{0}).add(u8{0}).add(u8{0}).add(u8{0});  // serial, tag, part, rank
  s.add(mib < kSeeExtended ? u32{0} : static_cast<u32>(mib)).add(u16{0});
  s.add(u16{0}).add(u16{0}).add(u16{0});  // voltages
  return s;
}

Structure array_address(u16 handle, u64 gpa, u64 bytes) {  // §7.20
  constexpr u32 kSeeExtended = 0xffff'ffff;
  const u64 first = gpa / kKiB, last = (gpa + bytes) / kKiB - 1;
  Structure s(kMemoryArrayAddress, handle);
  const bool fits = last < kSeeExtended;
  s.add(fits ? static_cast<u32>(first) : kSeeExtended);
  s.add(fits ? static_cast<u32>(last) : kSeeExtended).add(kArrayHandle).add(u8{1});
  s.add(fits ? u64{0} : gpa).add(fits ? u64{0} : gpa + bytes - 1);
  return s;
}

Structure system_boot() {  // §7.33: no errors detected
  return Structure(kSystemBoot, kBootHandle).zeros(6).add(u8{0});
}

// §5.2.1, the 32-bit entry point. Its table address is the firmware's to fill in.
std::vector<u8> entry_point(u16 count, std::size_t bytes, u16 largest) {
  constexpr u8 kBytes = 0x1f, kMajor = 2, kMinor = 8;
  constexpr std::size_t kChecksum = 4, kIntermediate = 0x10, kIntermediateChecksum = 0x15;
  std::vector<u8> e(kBytes);
  const auto put = [&e](std::size_t at, u64 value, unsigned width) {
    for (unsigned i = 0; i < width; ++i) e[at + i] = static_cast<u8>(value >> (8 * i));
  };
  std::ranges::copy(std::string_view("_SM_"), e.begin());
  std::ranges::copy(std::string_view("_DMI_"), e.begin() + kIntermediate);
  put(5, kBytes, 1);
  put(6, kMajor, 1);
  put(7, kMinor, 1);
  put(8, largest, 2);
  put(0x16, bytes, 2);
  put(0x1c, count, 2);
  put(0x1e, kMajor << 4 | kMinor, 1);
  e[kIntermediateChecksum] = acpi_checksum(&e[kIntermediate], kBytes - kIntermediate);
  e[kChecksum] = acpi_checksum(e.data(), kBytes);
  return e;
}

}  // namespace

SmbiosTables make_smbios(const SmbiosMachine& machine) {
  SmbiosTables tables;
  u16 count = 0;
  std::size_t largest = 0;
  const auto add = [&](Structure structure) {
    const auto bytes = structure.finish();
    tables.structures.insert(tables.structures.end(), bytes.begin(), bytes.end());
    largest = std::max(largest, bytes.size());
    ++count;
  };
  add(firmware_information());
  add(system());
  add(chassis());
  for (u32 i = 0; i < machine.vcpus; ++i) add(processor(i));
  add(memory_array(machine.memory_bytes));
  add(memory_device(machine.memory_bytes));
  u16 handle = kArrayAddressHandle;
  for (const RamPart& part : ram_layout(machine.memory_bytes))
    add(array_address(handle++, part.gpa, part.bytes));
  add(system_boot());
  add(Structure(kEndOfTable, kEndHandle));
  tables.entry_point = entry_point(count, tables.structures.size(), static_cast<u16>(largest));
  return tables;
}

}  // namespace dvm::vmm
