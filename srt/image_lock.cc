#include "srt/image_lock.h"

#include <fcntl.h>

#include <array>
#include <cerrno>

namespace dvm::srt {
namespace {

// Permissions of QEMU's block layer by bit number (its BLK_PERM_*), and where their bytes are.
constexpr u32 kConsistentRead = 0;
constexpr u32 kWrite = 1;
constexpr u32 kResize = 3;
constexpr u32 kPermissions = 4;
constexpr off_t kUsesBase = 100;
constexpr off_t kExcludesBase = 200;

// Beyond every file, and QEMU's bytes: guest, process and generation, from the top.
constexpr off_t kFenceBase = off_t{1} << 62;
constexpr u32 kGuestBits = 24, kProcessBits = 6, kGenerationBits = 32;
static_assert(kGuestBits + kProcessBits + kGenerationBits == 62);

off_t fence_byte(const Fence& of) {
  const u64 guest = of.guest & ((1u << kGuestBits) - 1);
  const u64 process = of.process & ((1u << kProcessBits) - 1);
  const u64 at = (guest << kProcessBits | process) << kGenerationBits | of.generation;
  return kFenceBase + static_cast<off_t>(at);
}

struct flock bytes_from(off_t at, u64 count, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = static_cast<off_t>(count);
  return lock;
}

// A shared lock needs no more than a readable file, and excludes only who asks for an exclusive
// one.
Status hold(const Fd& file, off_t at) {
  struct flock lock = bytes_from(at, 1, F_RDLCK);
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) < 0) return sys_error("fcntl F_OFD_SETLK");
  return {};
}

// Precondition: `count` is not 0, which would mean all that follows.
Result<bool> held_by_another(const Fd& file, off_t at, u64 count = 1) {
  struct flock lock = bytes_from(at, count, F_WRLCK);  // asks only; never taken
  if (::fcntl(file.get(), F_OFD_GETLK, &lock) < 0) return sys_error("fcntl F_OFD_GETLK");
  return lock.l_type != F_UNLCK;
}

}  // namespace

Status lock_image(const Fd& file, bool writable, const std::string& path) {
  // Two readers are fine; a writer, or one that changes the size, is alone.
  const u32 uses = writable ? 1u << kConsistentRead | 1u << kWrite | 1u << kResize  //
                            : 1u << kConsistentRead;
  const u32 excludes = 1u << kWrite | 1u << kResize;
  for (u32 p = 0; p < kPermissions; ++p) {
    if ((uses & 1u << p) != 0) DVM_TRY(hold(file, kUsesBase + p));
    if ((excludes & 1u << p) != 0) DVM_TRY(hold(file, kExcludesBase + p));
  }
  for (u32 p = 0; p < kPermissions; ++p) {
    DVM_ASSIGN(const bool used, held_by_another(file, kUsesBase + p));
    DVM_ASSIGN(const bool excluded, held_by_another(file, kExcludesBase + p));
    const bool conflict =
        (used && (excludes & 1u << p) != 0) || (excluded && (uses & 1u << p) != 0);
    if (!conflict) continue;
    return error("disk {}: in use by another process ({}); allowed: one writer or many readers",
                 path, used ? "which writes to it" : "which lets nobody write to it");
  }
  return {};
}

Status hold_fence(const Fd& file, const Fence& own) { return hold(file, fence_byte(own)); }

Result<bool> fence_held(const Fd& file, const Fence& of) {
  return held_by_another(file, fence_byte(of));
}

Result<bool> earlier_fence_held(const Fd& file, const Fence& than) {
  if (than.generation == 0) return false;
  const Fence first{than.guest, than.process, 0};
  return held_by_another(file, fence_byte(first), than.generation);
}

}  // namespace dvm::srt
