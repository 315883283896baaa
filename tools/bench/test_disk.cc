#include "tools/bench/test_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace dvm::tools {
namespace {

bool all_zeros(std::span<const std::byte> bytes) {
  return bytes.front() == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// Past the page cache, which is no place for a copy of it: but not all files can be read so.
Result<Fd> open_image(const std::string& path) {
  auto direct = Fd::open(path, O_RDONLY | O_DIRECT);
  return direct.ok() ? std::move(direct) : Fd::open(path, O_RDONLY);
}

}  // namespace

TestDisk::TestDisk(Fd image, u64 size, RamDisk ram)
    : image_(std::move(image)),
      size_(size),
      ram_(std::move(ram)),
      buffer_(new (std::align_val_t(kPageBytes)) std::byte[kChunk]),
      zeros_((size + kChunk - 1) / kChunk) {}

Result<TestDisk> TestDisk::make(const std::string& image) {
  DVM_ASSIGN(Fd fd, open_image(image));
  const off_t end = ::lseek(fd.get(), 0, SEEK_END);
  if (end <= 0) return error("{}: no image of a disk", image);
  const u64 size = static_cast<u64>(end);
  if (size % kPageBytes != 0) return error("{}: not of whole pages", image);
  DVM_ASSIGN(RamDisk ram, RamDisk::open());
  return TestDisk(std::move(fd), size, std::move(ram));
}

Status TestDisk::renew(const DeviceClass& kind) {
  DVM_TRY(ram_.renew(size_, kind));
  DVM_ASSIGN(const Fd to, Fd::open(device(), O_WRONLY | O_DIRECT));
  for (u64 at = 0; at < size_; at += kChunk) DVM_TRY(copy(at, to));
  if (::ioctl(to.get(), BLKFLSBUF, 0) < 0) return sys_error("BLKFLSBUF " + device());
  return {};
}

Status TestDisk::copy(u64 at, const Fd& to) {
  if (zeros_[at / kChunk]) return {};  // as the new disk is
  const std::span<std::byte> chunk(buffer_.get(), std::min(kChunk, size_ - at));
  DVM_TRY(image_.pread_all(chunk, at, "the image"));
  zeros_[at / kChunk] = all_zeros(chunk);
  return zeros_[at / kChunk] ? Status{} : to.pwrite_all(chunk, at, device());
}

}  // namespace dvm::tools
