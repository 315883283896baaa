// The disk that the machines have in turns: the same image anew for each, on a device of a class.
#pragma once

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "tools/bench/ram_disk.h"

namespace dvm::tools {

class TestDisk {
 public:
  // With the image's size. The image is a file or block device.
  static Result<TestDisk> make(const std::string& image);

  const std::string& device() const { return ram_.device(); }
  // The image as it is now, none of it in the page cache, on a device of that kind.
  Status renew(const DeviceClass& kind);

 private:
  static constexpr u64 kChunk = kMiB;
  struct Freer {
    void operator()(std::byte* memory) const {
      ::operator delete[](memory, std::align_val_t(kPageBytes));
    }
  };

  TestDisk(Fd image, u64 size, RamDisk ram);
  Status copy(u64 at, const Fd& to);

  Fd image_;
  u64 size_;
  RamDisk ram_;
  std::unique_ptr<std::byte[], Freer> buffer_;
  std::vector<bool> zeros_;  // of the image's chunks, by when it was first read
};

}  // namespace dvm::tools
