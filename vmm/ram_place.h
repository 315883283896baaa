// Where RAM lies among the pool's frames. Each boot of the guest may have a place of its own: then
// its RAM is zero without being cleared, and that of the boot before is still there for who can use
// it (the replica table). Frames: RAM and the firmware's window, as the directory has them; RAM's
// second and third place; the replica table's.
#pragma once

#include "hyperkernel/page_directory.h"
#include "vmm/machine_state.h"

namespace dvm::vmm {

// The one that runs, the one before, and one that is being emptied for the next.
inline constexpr u32 kRamPlaces = kMostRamPlaces;

inline u64 directory_pages(const MachineConfig& config) {
  const u64 rom = config.firmware_bytes == 0 ? 0 : layout::kFirmwareWindowBytes;
  return (config.memory_bytes + rom) / kPageBytes;
}

inline u32 ram_place_of(const MachineConfig& config, u32 boot) {
  return boot == 0 ? 0 : (boot - 1) % config.ram_places;
}

// The first frame of that boot's RAM, which lies in its order from there on. (With one place the
// directory has each page, and they may move.)
inline u64 first_frame_of(const MachineConfig& config, u32 boot) {
  const u32 place = ram_place_of(config, boot);
  return place == 0 ? 0 : directory_pages(config) + (place - 1) * config.memory_bytes / kPageBytes;
}

// Frames of all places of RAM, and the window.
inline u64 ram_frames(const MachineConfig& config) {
  return directory_pages(config) + (config.ram_places - 1) * config.memory_bytes / kPageBytes;
}

}  // namespace dvm::vmm
