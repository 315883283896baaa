#include "fabric/pool.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

namespace dvm::fabric {
namespace {

Result<u64> device_bytes(const struct stat& st, const std::string& name) {
  std::ifstream size_file(
      fmt::format("/sys/dev/char/{}:{}/size", major(st.st_rdev), minor(st.st_rdev)));
  u64 bytes = 0;
  if (!(size_file >> bytes))
    return error("pool {}: a character device without a size is no DAX device", name);
  return bytes;
}

// Bytes a descriptor offers: a file's length, or a DAX device's size.
Result<u64> offered_bytes(const Fd& fd, const std::string& name) {
  struct stat st {};
  if (::fstat(fd.get(), &st) < 0) return sys_error("fstat " + name);
  if (S_ISCHR(st.st_mode)) return device_bytes(st, name);
  if (!S_ISREG(st.st_mode)) return error("pool {}: neither a file nor a DAX device", name);
  return static_cast<u64>(st.st_size);
}

bool is_device(const Fd& fd) {
  struct stat st {};
  return ::fstat(fd.get(), &st) == 0 && S_ISCHR(st.st_mode);
}

u64 page_bytes_of(const Fd& fd) {
  struct statfs fs {};
  if (::fstatfs(fd.get(), &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
    return static_cast<u64>(fs.f_bsize);
  return is_device(fd) ? kHugePageBytes : kPageBytes;
}

Status lock_exclusively(const Fd& fd, const std::string& name) {
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK) return error("pool {}: in use by another guest", name);
  return sys_error("flock " + name);
}

// A file that is there already must be a pool nobody uses, or hold nothing.
Status check_reusable(const Fd& fd, u64 bytes, const std::string& name) {
  if (bytes == 0 || is_device(fd)) return {};
  if (bytes < sizeof(PoolHeader)) return error("pool {}: {} bytes is no dvm pool", name, bytes);
  DVM_ASSIGN(const Mapping head, Mapping::shared(fd, 0, page_bytes_of(fd), name));
  PoolHeader header{};
  std::memcpy(&header, head.data(), sizeof(header));
  return check_header(header, bytes, name);
}

// Room for the whole pool is asked for before the guest runs: a full tmpfs would be a SIGBUS later.
Status check_room(const Fd& fd, u64 bytes, u64 had, const std::string& name) {
  struct statvfs fs {};
  if (::fstatvfs(fd.get(), &fs) != 0 || fs.f_blocks == 0) return {};  // no limit known
  const u64 room = static_cast<u64>(fs.f_bavail) * fs.f_frsize + had;
  if (bytes > room) {
    return usage_error("pool {}: {} MiB needed, its file system has {} MiB free", name,
                       bytes / kMiB, room / kMiB);
  }
  return {};
}

}  // namespace

bool takes_holes(const std::string& path) {
  if (path.empty()) return true;
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && S_ISCHR(st.st_mode)) return false;
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct statfs fs {};
  return ::statfs(folder.c_str(), &fs) != 0 || fs.f_type != HUGETLBFS_MAGIC;
}

Result<Pool> Pool::create(const PoolSpec& spec) {
  Pool pool;
  pool.path_ = spec.path;
  pool.name_ = spec.path.empty() ? spec.name : spec.path;
  if (spec.path.empty()) {
    pool.fd_ = Fd(::memfd_create(("dvm-" + spec.name).c_str(), MFD_CLOEXEC));
    if (!pool.fd_.valid()) return sys_error("memfd_create");
  } else {
    auto fresh = Fd::open(spec.path, O_RDWR | O_CREAT | O_EXCL);
    pool.created_file_ = fresh.ok();
    if (!fresh.ok() && fresh.error().sys_errno == EEXIST) fresh = Fd::open(spec.path, O_RDWR);
    if (!fresh.ok())
      return Error{ErrorKind::usage, fresh.error().sys_errno, "pool " + fresh.error().message};
    pool.fd_ = fresh.take();
  }
  const auto format = [&]() -> Status {
    DVM_TRY(lock_exclusively(pool.fd_, pool.name_));
    DVM_ASSIGN(const u64 had, offered_bytes(pool.fd_, pool.name_));
    DVM_TRY(check_reusable(pool.fd_, had, pool.name_));
    DVM_ASSIGN(pool.header_,
               make_header(spec.metadata, spec.frames_bytes, page_bytes_of(pool.fd_)));
    const u64 total = pool.header_.total_bytes;
    if (is_device(pool.fd_)) {
      if (total > had)
        return usage_error("pool {}: {} bytes needed, the device has {}", pool.name_, total, had);
    } else {
      if (!spec.path.empty())
        DVM_TRY(check_room(pool.fd_, total - spec.spare_bytes, had, pool.name_));
      if (::ftruncate(pool.fd_.get(), 0) < 0 ||
          ::ftruncate(pool.fd_.get(), static_cast<off_t>(total)) < 0) {
        return sys_error(fmt::format("ftruncate {} to {} bytes", pool.name_, total));
      }
    }
    DVM_TRY(pool.map_metadata());
    if (is_device(pool.fd_)) std::memset(pool.metadata_.data(), 0, pool.metadata_.size());
    pool.seal_regions();
    // The header last and its checksum with it: until then the file is no pool.
    std::memcpy(pool.metadata_.data(), &pool.header_, offsetof(PoolHeader, checksum));
    auto* header = reinterpret_cast<PoolHeader*>(pool.metadata_.data());
    std::atomic_ref(header->checksum).store(pool.header_.checksum, std::memory_order_release);
    return {};
  };
  if (auto status = format(); !status.ok()) {
    pool.unlink();
    return status.error();
  }
  return pool;
}

Result<Pool> Pool::reopen(const std::string& path, u64 patience_ms) {
  constexpr auto kNap = std::chrono::milliseconds(20);
  auto fd = Fd::open(path, O_RDWR);
  if (!fd.ok()) return Error{ErrorKind::usage, fd.error().sys_errno, "pool " + fd.error().message};
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  Status locked = lock_exclusively(*fd, path);
  while (!locked.ok() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kNap);
    locked = lock_exclusively(*fd, path);
  }
  if (!locked.ok()) return locked.error();
  DVM_ASSIGN(Pool pool, attach(fd.take(), path));
  pool.path_ = path;
  return pool;
}

Result<Pool> Pool::attach(Fd fd, std::string name) {
  Pool pool;
  pool.fd_ = std::move(fd);
  pool.name_ = std::move(name);
  DVM_ASSIGN(const u64 bytes, offered_bytes(pool.fd_, pool.name_));
  if (bytes < sizeof(PoolHeader))
    return error("pool {}: {} bytes is no dvm pool", pool.name_, bytes);
  {
    DVM_ASSIGN(const Mapping head,
               Mapping::shared(pool.fd_, 0, page_bytes_of(pool.fd_), pool.name_));
    std::memcpy(&pool.header_, head.data(), sizeof(PoolHeader));
  }
  DVM_TRY(check_header(pool.header_, bytes, pool.name_));
  DVM_TRY(pool.map_metadata());
  for (u32 i = 0; i < pool.header_.region_count; ++i)
    DVM_TRY(pool.check_seal_of(pool.header_.regions[i]));
  return pool;
}

void Pool::seal_regions() {
  for (u32 i = 0; i < header_.region_count; ++i) {
    const RegionHeader& r = header_.regions[i];
    if (r.kind == RegionKind::frames) continue;
    const RegionSeal seal = make_seal(r);
    std::memcpy(metadata_.data() + r.offset - sizeof(seal), &seal, sizeof(seal));
  }
}

Status Pool::check_seal_of(const RegionHeader& region) const {
  if (region.kind == RegionKind::frames) return {};
  RegionSeal seal;
  std::memcpy(&seal, metadata_.data() + region.offset - sizeof(seal), sizeof(seal));
  return check_seal(seal, region, name_);
}

Status Pool::map_metadata() {
  DVM_ASSIGN(metadata_, Mapping::shared(fd_, 0, header_.metadata_bytes, name_));
  return {};
}

void Pool::unlink() {
  if (created_file_) ::unlink(path_.c_str());
  created_file_ = false;
}

Result<RegionHeader> Pool::region_header(RegionKind kind, u32 version) const {
  for (u32 i = 0; i < header_.region_count; ++i) {
    const RegionHeader& r = header_.regions[i];
    if (r.kind != kind) continue;
    if (r.version == version) return r;
    return error("pool {}: region {} at {:#x} has version {}, this dvm reads version {}", name_,
                 region_name(kind), r.offset, r.version, version);
  }
  return error("pool {}: has no region of kind {} ({})", name_, static_cast<u32>(kind),
               region_name(kind));
}

bool Pool::has_region(RegionKind kind) const {
  const auto end = header_.regions.begin() + header_.region_count;
  return std::any_of(header_.regions.begin(), end, [kind](auto& r) { return r.kind == kind; });
}

Result<std::span<std::byte>> Pool::region(RegionKind kind, u32 version) const {
  DVM_ASSIGN(const RegionHeader r, region_header(kind, version));
  if (kind == RegionKind::frames) return error("pool {}: frames are not metadata", name_);
  DVM_TRY(check_seal_of(r));
  return metadata_.bytes().subspan(r.offset, r.bytes);
}

}  // namespace dvm::fabric
