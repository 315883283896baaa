// The firmware's image: a PC BIOS, shown at the top of 4 GiB, where the processor starts, and its
// end once more below 1 MiB, where its real-mode part runs.
#pragma once

#include "vmm/boot/boot_file.h"
#include "vmm/boot/entry_state.h"

namespace dvm::vmm {

// Multiples of this, up to layout::kMaxFirmware.
inline constexpr u64 kFirmwareUnit = 64 * kKiB;

// Its size, if it can be a firmware image; else a usage error that names the file.
Result<u64> check_firmware(const Fd& fd, const std::string& name);

// Puts the image into `rom` (up to 4 GiB; empty: it is there already) and into `ram`; the rest of
// the adapters' segment, from 0xc0000 on, is cleared, so that no option ROM of before the reset is
// found there. Pure of the file: the same memory at each reset.
Result<EntryState> load_firmware(const Fd& fd, const std::string& name,
                                 const hyperkernel::GuestMemory& ram,
                                 const hyperkernel::GuestMemory& rom);

}  // namespace dvm::vmm
