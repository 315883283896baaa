// The figures of each device for status and metrics: requests, bytes, errors, kicks, interrupts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/machine.h"

namespace dvm::tools {

// Of one device. Bytes in are those that reached the guest. What a device has no notion of is none.
struct DeviceFigures {
  std::string name;  // "disk0", "net0", "rng0", "console0", "balloon0", "serial0"
  std::string kind;
  std::optional<u32> function;  // PCI function, a virtio device's
  std::string detail;           // a disk's serial, a network's address
  u64 in_requests = 0, in_bytes = 0;
  u64 out_requests = 0, out_bytes = 0;
  u64 other_requests = 0;
  u64 errors = 0, dropped = 0;
  u64 kicks = 0;  // notifications by the driver
  u64 interrupts = 0;
  // By whom requests are in hand, or the queues served, where one process does that: "node 1",
  // "net".
  std::vector<std::pair<std::string, u64>> owners;
};

// In the order of their PCI functions, the serial port last. Takes no lock: the figures are as of
// about now.
std::vector<DeviceFigures> device_figures(const vmm::Machine& machine);

}  // namespace dvm::tools
