// The words of `dvm-bench disk` and `dvm-bench net`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// A kind of load inside the guest.
struct DeviceJob {
  std::string name;
  std::string unit;
};

struct DeviceOptions {
  bool help = false;
  bool json = false;
  bool peer_qemu = false;
  bool peer_srt_off = false;  // disk: ourselves without the replica table
  bool reasons = false;
  u32 runs = 5;
  u32 seconds = 3;  // a job
  u32 cpus = 2;
  u64 memory = 512 * kMiB;
  std::vector<u32> nodes = {1, 2};
  double limit_s = 180;
  std::vector<DeviceJob> jobs;
  std::string kernel;  // empty: that of the cache
  std::string initrd;
  std::string disk;              // disk: a file or block device, overwritten
  std::vector<std::string> net;  // net: "user", or a tap interface's name
  u32 port = 5201;               // net: of iperf3's server
  std::optional<std::string> plot;
};

// `benchmark`: "disk" or "net".
Result<DeviceOptions> parse_device_options(const std::string& benchmark,
                                           const std::vector<std::string>& words);
// Those of `tools/guest-files bench` where none were said; all must be there.
Status find_device_files(const std::string& benchmark, DeviceOptions& options);
std::string device_help(const std::string& benchmark);

}  // namespace dvm::tools
