// Locks on a disk image, held by an open file description (F_OFD_SETLK) and thus by every process
// that has inherited it, until the last descriptor of it and the last I/O through it are gone.
//
// Image locks are QEMU's, so that QEMU, qemu-img and qemu-nbd on the same file refuse and are
// refused: a shared lock on byte 100 + p says "I use permission p", on byte 200 + p "nobody else
// may". Whoever comes takes its own bytes first and then looks for those that contradict, so of two
// that come at once at least one sees the other.
//
// A fence lock says "I/O of this process may be in flight". Each process does its I/O through an
// open file description of its own (Disk::adopt) and holds one byte by it. The kernel keeps a
// description open for as long as any I/O through it is in flight, also when the process is long
// dead (an io_uring request refers to its file), and drops the lock with it. So, once the byte of a
// dead process is free, nothing it has submitted can reach the disk or guest memory any more, and
// none of its threads runs.
#pragma once

#include <string>

#include "fabric/fd.h"

namespace dvm::srt {

// An error: another process uses the image in a way that excludes this.
Status lock_image(const Fd& file, bool writable, const std::string& path);

// A process's name among all that ever have the file open on this host. Guests may share an image
// that they only read, so the guest is part of it.
struct Fence {
  u32 guest = 0;    // 24 bits
  u32 process = 0;  // below 64: an instance's stable id
  u32 generation = 0;
};

Status hold_fence(const Fd& file, const Fence& own);
// Does a description other than `file` hold that fence? Threads, processes: any, on this host.
Result<bool> fence_held(const Fd& file, const Fence& of);
// Or one of an earlier generation of that process?
Result<bool> earlier_fence_held(const Fd& file, const Fence& than);

}  // namespace dvm::srt
