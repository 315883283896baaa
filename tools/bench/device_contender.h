// The machines whose devices are compared, each as the command that runs it.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/device_options.h"

namespace dvm::tools {

struct DeviceContender {
  std::string name;            // "qemu-user", "dvm-user-2-nodes"
  std::string peer;            // whom it is compared with; empty: it is a peer
  std::optional<double> goal;  // the least ratio to the peer
  std::vector<std::string> words;
};

// The options' files are filled in.
std::vector<DeviceContender> disk_contenders(const DeviceOptions& options,
                                             const std::string& dvm_run);
// An error: a tap interface that is missing or has no address.
Result<std::vector<DeviceContender>> net_contenders(const DeviceOptions& options,
                                                    const std::string& dvm_run);

}  // namespace dvm::tools
