// What a file or block device can do, found out without changing it.
#pragma once

#include <optional>

#include "fabric/fd.h"
#include "srt/disk.h"

namespace dvm::srt {

bool is_block_device(const Fd& file);

// Bytes of an open regular file or block device.
Result<u64> probe_size(const Fd& file);

struct DirectAlignment {
  u32 offset;  // of offsets and lengths
  u32 memory;  // of buffers
};
// For a file opened with O_DIRECT; none when it cannot. By statx where the kernel knows, else by
// trying to read.
std::optional<DirectAlignment> probe_direct(const Fd& file);

// The block sizes in which the file is best used, and whether blocks can be deallocated.
struct BlockAbilities {
  u32 logical_bytes = 512;
  u32 physical_bytes = 512;
  bool discard = false;
};
BlockAbilities probe_abilities(const Fd& file, bool writable);

}  // namespace dvm::srt
