#include "srt/disk_probe.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <memory>

namespace dvm::srt {
namespace {

constexpr u32 kMaxAlignment = 4096;

struct Free {
  void operator()(void* p) const { std::free(p); }  // NOLINT: of aligned_alloc
};

// Does a direct read of `bytes` at offset 0 into a buffer aligned to just `memory` work? At the end
// of the file a short one does.
bool reads(const Fd& file, u32 bytes, u32 memory) {
  const std::unique_ptr<void, Free> room(std::aligned_alloc(kMaxAlignment, 2 * kMaxAlignment));
  if (!room) return false;
  auto* at = static_cast<std::byte*>(room.get()) + (memory == kMaxAlignment ? 0 : memory);
  return ::pread(file.get(), at, bytes, 0) >= 0;
}

// A limit of the device's request queue, in sysfs; 0 if there is none. A partition has its disk's.
u64 queue_limit(const Fd& file, const char* name) {
  struct stat st {};
  if (::fstat(file.get(), &st) < 0) return 0;
  const auto folder = fmt::format("/sys/dev/block/{}:{}", ::major(st.st_rdev), ::minor(st.st_rdev));
  for (const char* up : {"", "/.."}) {
    const auto limit = Fd::open(fmt::format("{}{}/queue/{}", folder, up, name), O_RDONLY);
    std::array<char, 32> text{};
    if (!limit || ::read(limit->get(), text.data(), text.size() - 1) <= 0) continue;
    return std::strtoull(text.data(), nullptr, 10);
  }
  return 0;
}

// On a hole behind the end of the file: nothing is there to be changed, or is made.
bool can_punch(const Fd& file) {
  struct stat st {};
  if (::fstat(file.get(), &st) < 0) return false;
  const auto behind = static_cast<off_t>(align_up(static_cast<u64>(st.st_size), kPageBytes));
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return ::fallocate(file.get(), kMode, behind, kPageBytes) == 0;
}

BlockAbilities probe_device(const Fd& file, bool writable) {
  BlockAbilities a;
  int logical = 0;
  unsigned physical = 0;
  if (::ioctl(file.get(), BLKSSZGET, &logical) == 0 && logical >= 512) {
    a.logical_bytes = static_cast<u32>(logical);
  }
  if (::ioctl(file.get(), BLKPBSZGET, &physical) == 0) a.physical_bytes = physical;
  // fallocate() on a device deallocates only where it can promise zeroes afterwards.
  a.discard = writable && queue_limit(file, "write_zeroes_max_bytes") > 0;
  return a;
}

BlockAbilities probe_file(const Fd& file, bool writable) {
  BlockAbilities a;
  struct stat st {};
  if (::fstat(file.get(), &st) == 0 && st.st_blksize > 0) {
    a.physical_bytes = static_cast<u32>(std::min<blksize_t>(st.st_blksize, 64 * kKiB));
  }
  a.discard = writable && can_punch(file);
  return a;
}

}  // namespace

bool is_block_device(const Fd& file) {
  struct stat st {};
  return ::fstat(file.get(), &st) == 0 && S_ISBLK(st.st_mode);
}

Result<u64> probe_size(const Fd& file) {
  if (!is_block_device(file)) return file.size();
  u64 bytes = 0;
  if (::ioctl(file.get(), BLKGETSIZE64, &bytes) < 0) return sys_error("ioctl BLKGETSIZE64");
  return bytes;
}

std::optional<DirectAlignment> probe_direct(const Fd& file) {
  struct statx st {};
  if (::statx(file.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
      (st.stx_mask & STATX_DIOALIGN) != 0) {
    if (st.stx_dio_offset_align == 0) return std::nullopt;
    return DirectAlignment{std::max(st.stx_dio_offset_align, 512u),
                           std::max(st.stx_dio_mem_align, 1u)};
  }
  for (u32 offset = 512; offset <= kMaxAlignment; offset *= 2) {
    for (u32 memory = 512; memory <= kMaxAlignment; memory *= 2) {
      if (reads(file, offset, memory)) return DirectAlignment{offset, memory};
    }
  }
  return std::nullopt;
}

BlockAbilities probe_abilities(const Fd& file, bool writable) {
  BlockAbilities a = is_block_device(file) ? probe_device(file, writable)  //
                                           : probe_file(file, writable);
  a.physical_bytes = std::bit_floor(std::clamp<u32>(a.physical_bytes, a.logical_bytes, 64 * kKiB));
  return a;
}

}  // namespace dvm::srt
