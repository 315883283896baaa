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

constexpr off_t kFenceBase = off_t{1} << 56;  // beyond every file, and QEMU's bytes

struct flock one_byte(short type, off_t at) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

// A shared lock needs no more than a readable file, and excludes only who asks for an exclusive
// one.
Status hold(const Fd& file, off_t at) {
  struct flock lock = one_byte(F_RDLCK, at);
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) < 0) return sys_error("fcntl F_OFD_SETLK");
  return {};
}

Result<bool> held_by_another(const Fd& file, off_t at) {
  struct flock lock = one_byte(F_WRLCK, at);  // asks only; never taken
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

Status hold_fence(const Fd& file, u64 id) {
  return hold(file, kFenceBase + static_cast<off_t>(id));
}

Result<bool> fence_held(const Fd& file, u64 id) {
  return held_by_another(file, kFenceBase + static_cast<off_t>(id));
}

}  // namespace dvm::srt
