// A raw disk: a regular file or a block device, opened, checked, measured and locked.
//
// The launcher opens it (Disk::open) and keeps it for the guest's life. A node inherits the
// launcher's descriptor, which carries the image lock, and opens the file anew through it
// (Disk::adopt), with a fence of its own (image_lock.h).
#pragma once

#include <optional>
#include <string>

#include "fabric/fd.h"
#include "srt/disk_spec.h"
#include "srt/image_lock.h"

namespace dvm::srt {

// Sizes in bytes.
struct DiskGeometry {
  u64 bytes = 0;          // a multiple of block_bytes
  u32 block_bytes = 512;  // the smallest access: a power of two, 512 unless direct I/O needs more
  u32 physical_bytes = 512;  // a multiple of block_bytes: accesses of these are best
  u32 memory_alignment = 1;  // of buffers; others are copied
  bool direct = false;
  // Direct I/O goes by way of memory of our own, because the pages of the buffers may change hands
  // meanwhile (docs/coherence.md).
  bool copies = false;
  bool discard = false;       // asked for, and the file or device can
  bool write_zeroes = false;  // the queue can: of a raw disk always, if need be by writing them out
};

class Disk {
 public:
  // A usage error: the file is not fit, in one line that names it. A runtime error: it is in use.
  static Result<Disk> open(const DiskSpec& spec);
  // In another process: `inherited` is a duplicate of the launcher's fd(), `geometry` what the
  // launcher found, so that all nodes do the same. `fence` as in image_lock.h.
  static Result<Disk> adopt(Fd inherited, const DiskSpec& spec, const DiskGeometry& geometry,
                            const Fence& fence);

  const Fd& fd() const { return fd_; }
  const DiskSpec& spec() const { return spec_; }
  const DiskGeometry& geometry() const { return geometry_; }  // as it was when opened

  // The size now, in bytes, rounded down to whole blocks: another process may have grown it.
  Result<u64> read_size() const;
  // Grows a regular file; a block device that has that size already is found to have it. The disk
  // never shrinks: a usage error, as is a size of no whole blocks. Nodes see it by read_size().
  Status grow(u64 bytes) const;

 private:
  Disk(Fd fd, DiskSpec spec) : fd_(std::move(fd)), spec_(std::move(spec)) {}

  Fd fd_;
  Fd inherited_;  // keeps the image lock
  DiskSpec spec_;
  DiskGeometry geometry_;
};

}  // namespace dvm::srt
