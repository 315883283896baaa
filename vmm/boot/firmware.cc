#include "vmm/boot/firmware.h"

#include <algorithm>

#include "vmm/layout.h"

namespace dvm::vmm {

Result<u64> check_firmware(const Fd& fd, const std::string& name) {
  DVM_ASSIGN(const BootFile file, BootFile::open(fd, "firmware", name));
  if (file.bytes() % kFirmwareUnit != 0 || file.bytes() > layout::kMaxFirmware) {
    return usage_error("{}: found {} bytes; allowed: a multiple of 64 KiB up to 1 MiB",
                       file.label(), file.bytes());
  }
  return file.bytes();
}

Result<EntryState> load_firmware(const Fd& fd, const std::string& name,
                                 const hyperkernel::GuestMemory& ram,
                                 const hyperkernel::GuestMemory& rom) {
  DVM_ASSIGN(const u64 bytes, check_firmware(fd, name));
  DVM_ASSIGN(const BootFile file, BootFile::open(fd, "firmware", name));
  if (!rom.ranges().empty()) DVM_TRY(file.load(rom, layout::kHighRamStart - bytes, 0, bytes));
  const u64 low = std::min(bytes, layout::kLowFirmwareMax);
  const u64 low_start = layout::kLowFirmwareEnd - low;
  DVM_TRY(ram.fill(layout::kAdapterRoms, low_start - layout::kAdapterRoms, std::byte{0}));
  DVM_TRY(file.load(ram, low_start, bytes - low, low));
  return EntryState{EntryMode::reset, layout::kResetVector, 0};
}

}  // namespace dvm::vmm
