#include "tools/bench/host_meters.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <map>
#include <span>
#include <sstream>

#include "fabric/fd.h"
#include "tools/message.h"

namespace dvm::tools {

Result<std::string> read_kernel_file(const std::string& path) {
  DVM_ASSIGN(const Fd file, Fd::open(path, O_RDONLY));
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t n = ::read(file.get(), part.data(), part.size());
    if (n < 0) return sys_error("read " + path);
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
}

Status write_kernel_file(const std::string& path, const std::string& text) {
  DVM_ASSIGN(const Fd file, Fd::open(path, O_WRONLY));
  if (::write(file.get(), text.data(), text.size()) < 0)
    return sys_error(fmt::format("write '{}' to {}", one_line(text), path));
  return {};
}

// Documentation/block/stat.rst: requests, merges, sectors of 512 bytes, milliseconds.
Result<DiskReads> parse_disk_stat(std::string_view text) {
  std::istringstream words{std::string(text)};
  DiskReads reads;
  u64 merges = 0, sectors = 0;
  if (!(words >> reads.requests >> merges >> sectors >> reads.waited_ms))
    return error("not what a block device's stat file has: {}", one_line(text));
  reads.bytes = sectors * 512;
  return reads;
}

Result<DiskReads> read_disk_stat(const std::string& device) {
  const std::string name = device.substr(device.rfind('/') + 1);
  DVM_ASSIGN(const std::string text, read_kernel_file("/sys/block/" + name + "/stat"));
  return parse_disk_stat(text);
}

// Shared memory, which guests' memory is, counts as cached.
Result<HostMemory> parse_meminfo(std::string_view text) {
  std::map<std::string, u64> fields;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    u64 kib = 0;
    if (words >> name >> kib) fields[name] = kib * kKiB;
  }
  for (const char* needed : {"MemTotal:", "MemFree:", "Buffers:", "Cached:", "Shmem:"}) {
    if (!fields.contains(needed)) return error("no {} in /proc/meminfo", needed);
  }
  return HostMemory{fields["MemTotal:"] - fields["MemFree:"],
                    fields["Buffers:"] + fields["Cached:"] - fields["Shmem:"]};
}

Result<HostMemory> read_meminfo() {
  DVM_ASSIGN(const std::string text, read_kernel_file("/proc/meminfo"));
  return parse_meminfo(text);
}

}  // namespace dvm::tools
