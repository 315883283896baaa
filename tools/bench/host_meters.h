// What the host's kernel counts: I/O of a block device, memory.
#pragma once

#include <string>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// Reads that reached a block device.
struct DiskReads {
  u64 requests = 0;
  u64 bytes = 0;
  u64 waited_ms = 0;  // by all requests together

  DiskReads operator-(const DiskReads& before) const {
    return {requests - before.requests, bytes - before.bytes, waited_ms - before.waited_ms};
  }
};

// The text of /sys/block/NAME/stat.
Result<DiskReads> parse_disk_stat(std::string_view text);
// `device`: "/dev/sda".
Result<DiskReads> read_disk_stat(const std::string& device);

struct HostMemory {
  u64 used = 0;        // bytes that are not free
  u64 page_cache = 0;  // of these, what was read from files and block devices
};

// The text of /proc/meminfo.
Result<HostMemory> parse_meminfo(std::string_view text);
Result<HostMemory> read_meminfo();

// A small file of the kernel's, whole.
Result<std::string> read_kernel_file(const std::string& path);
Status write_kernel_file(const std::string& path, const std::string& text);

}  // namespace dvm::tools
