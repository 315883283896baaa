// Kinds of disks, by how long they take; docs/benchmarks-reboot.md has where the figures are from.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct DeviceClass {
  const char* name;
  u64 latency_ns;      // of each request; 0: no more than the host takes
  u32 mib_per_second;  // 0: no limit
  u32 at_once;         // requests that it works on side by side; the others wait
};

std::span<const DeviceClass> device_classes();
// "nvme,disk", each once.
Result<std::vector<DeviceClass>> parse_device_classes(const std::string& text);
std::string device_class_names();
// What reading takes such a device when one request follows the other.
double seconds_of_reads(const DeviceClass& kind, double requests, double mebibytes);

}  // namespace dvm::tools
