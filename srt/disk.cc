#include "srt/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "srt/disk_probe.h"

namespace dvm::srt {
namespace {

constexpr u64 kSectorBytes = 512;

std::string of_this(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

Error cannot_open(const DiskSpec& spec, int code) {
  const char* why = std::strerror(code);
  if (code == EROFS) why = "on a read-only file system (allowed with readonly=on)";
  if (code == EACCES && !spec.read_only && ::access(spec.path.c_str(), R_OK) == 0) {
    why = "may be read but not written (allowed with readonly=on)";
  }
  if (code == EBUSY) why = "the device is mounted or otherwise in use";
  return {ErrorKind::usage, code, fmt::format("disk {}: {}", spec.path, why)};
}

// Looks before it opens: opening a pipe waits, opening a device may do things.
Result<Fd> find(const DiskSpec& spec) {
  const int raw = ::open(spec.path.c_str(), O_PATH | O_CLOEXEC);
  if (raw < 0) return cannot_open(spec, errno);
  Fd found(raw);
  struct stat st {};
  if (::fstat(raw, &st) < 0) return cannot_open(spec, errno);
  if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return found;
  const char* what = S_ISDIR(st.st_mode)    ? "a directory"
                     : S_ISFIFO(st.st_mode) ? "a pipe"
                     : S_ISSOCK(st.st_mode) ? "a socket"
                                            : "a character device";
  return usage_error("disk {}: found {}; allowed: a regular file or a block device", spec.path,
                     what);
}

Result<Fd> open_again(const Fd& found, const DiskSpec& spec, int flags) {
  flags |= (spec.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
  const int raw = ::open(of_this(found).c_str(), flags);
  if (raw < 0) return cannot_open(spec, errno);
  return Fd(raw);
}

Status check_size(const DiskSpec& spec, u64 bytes) {
  if (bytes == 0) {
    return usage_error("disk {}: found an empty file; allowed: a size above 0", spec.path);
  }
  if (bytes % kSectorBytes != 0) {
    return usage_error("disk {}: found {} bytes; allowed: a multiple of {}", spec.path, bytes,
                       kSectorBytes);
  }
  return {};
}

struct Opened {
  Fd file;
  DiskGeometry geometry;
};

// With O_DIRECT if that is what the spec comes to; none if it has to be without.
std::optional<Opened> open_direct(const Fd& found, const DiskSpec& spec, u64 bytes, int flags) {
  auto file = open_again(found, spec, flags | O_DIRECT);
  if (!file) return std::nullopt;
  const auto alignment = probe_direct(*file);
  if (!alignment || bytes % alignment->offset != 0) return std::nullopt;
  // Larger blocks would make a partitioned image of 512-byte ones unreadable: only if asked for.
  if (!spec.cache && alignment->offset > kSectorBytes) return std::nullopt;
  DiskGeometry geometry;
  geometry.direct = true;
  geometry.block_bytes = alignment->offset;
  geometry.memory_alignment = alignment->memory;
  return Opened{file.take(), geometry};
}

Result<Opened> open_and_measure(const Fd& found, const DiskSpec& spec, int flags) {
  DVM_ASSIGN(Fd buffered, open_again(found, spec, flags));
  DVM_ASSIGN(const u64 bytes, probe_size(buffered));
  DVM_TRY(check_size(spec, bytes));
  buffered.reset();  // of an exclusively opened device there is only one
  std::optional<Opened> opened;
  if (spec.cache != DiskCache::buffered) opened = open_direct(found, spec, bytes, flags);
  if (!opened && spec.cache == DiskCache::direct) {
    return usage_error("disk {}: its file system allows no direct I/O; allowed: cache=buffered",
                       spec.path);
  }
  if (!opened) {
    DVM_ASSIGN(Fd file, open_again(found, spec, flags));
    opened = Opened{std::move(file), {}};
  }
  const BlockAbilities can = probe_abilities(opened->file, !spec.read_only);
  DiskGeometry& g = opened->geometry;
  g.bytes = bytes;
  g.physical_bytes = std::max(can.physical_bytes, g.block_bytes);
  g.discard = can.discard && spec.discard;
  g.write_zeroes = !spec.read_only;
  return std::move(*opened);
}

}  // namespace

Result<Disk> Disk::open(const DiskSpec& spec) {
  if (spec.format != "raw") return usage_error("disk {}: not raw", spec.path);
  DVM_ASSIGN(const Fd found, find(spec));
  // A writable device is opened exclusively: a mounted one is refused.
  const int flags = is_block_device(found) && !spec.read_only ? O_EXCL : 0;
  DVM_ASSIGN(Opened opened, open_and_measure(found, spec, flags));
  DVM_TRY(lock_image(opened.file, !spec.read_only, spec.path));
  Disk disk(std::move(opened.file), spec);
  disk.geometry_ = opened.geometry;
  return disk;
}

Result<Disk> Disk::adopt(Fd inherited, const DiskSpec& spec, const DiskGeometry& geometry,
                         const Fence& fence) {
  DVM_ASSIGN(Fd file, open_again(inherited, spec, geometry.direct ? O_DIRECT : 0));
  DVM_TRY(hold_fence(file, fence));
  Disk disk(std::move(file), spec);
  disk.inherited_ = std::move(inherited);
  disk.geometry_ = geometry;
  return disk;
}

Result<u64> Disk::read_size() const {
  DVM_ASSIGN(const u64 bytes, probe_size(fd_));
  return bytes - bytes % geometry_.block_bytes;
}

Status Disk::grow(u64 bytes) const {
  if (bytes == 0 || bytes % geometry_.block_bytes != 0) {
    return usage_error("disk {}: found {} bytes; allowed: a multiple of {}", spec_.path, bytes,
                       geometry_.block_bytes);
  }
  if (spec_.read_only) return usage_error("disk {}: read-only", spec_.path);
  DVM_ASSIGN(const u64 now, probe_size(fd_));
  if (bytes < now) {
    return usage_error("disk {}: found {} bytes; allowed: at least the {} it has", spec_.path,
                       bytes, now);
  }
  if (bytes == now) return {};
  if (is_block_device(fd_)) {
    return usage_error("disk {}: found {} bytes; allowed: the {} the device has", spec_.path, bytes,
                       now);
  }
  if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) < 0) {
    return sys_error("ftruncate " + spec_.path);
  }
  return {};
}

}  // namespace dvm::srt
