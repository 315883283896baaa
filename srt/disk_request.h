// What is asked of a disk, and how it ended.
#pragma once

#include <sys/uio.h>

#include <span>

#include "fabric/types.h"

namespace dvm::srt {

enum class DiskOp : u8 { read, write, flush, discard, write_zeroes };

inline bool moves_data(DiskOp op) { return op == DiskOp::read || op == DiskOp::write; }

// Offsets and lengths are multiples of the disk's block_bytes and within it. Requests that are in
// flight together happen in any order, and overlapping ones mix in any way: no more is promised
// than virtio-blk does. A flush covers the writes that were completed before it was submitted.
struct DiskRequest {
  DiskOp op = DiskOp::read;
  bool durable = false;  // write, write_zeroes: as if a flush of just this one followed (FUA)
  bool unmap = false;    // write_zeroes: may deallocate
  u64 offset = 0;
  u64 bytes = 0;
  // read, write: `bytes` in all, at most kMaxDiskBuffers. The array may go after submit(); the
  // memory stays until the completion.
  std::span<const iovec> buffers = {};
  u64 cookie = 0;
};
inline constexpr u32 kMaxDiskBuffers = 1024;  // IOV_MAX

struct DiskCompletion {
  u64 cookie = 0;
  // 0, or an errno: EIO, ENOSPC, EROFS (read-only disk), EINVAL (a bad request), ENOTSUP (discard:
  // the disk cannot; nothing was done). Of a failed write any part may have been written.
  int error = 0;
};

}  // namespace dvm::srt
