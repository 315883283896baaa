// The words of `dvm-bench reboot`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/device_class.h"

namespace dvm::tools {

struct RebootOptions {
  bool help = false;
  bool json = false;
  bool settled = false;  // the image was booted before
  u32 runs = 3;
  u32 cpus = 4;
  u32 nodes = 2;
  std::vector<u64> memory = {kGiB};
  std::vector<DeviceClass> devices = {device_classes()[1]};
  std::vector<std::string> only;  // contenders; empty: those of default_rebooters()
  double limit_s = 900;           // a boot
  std::string image;              // empty: DVM_LAB_DISK
  std::optional<std::string> plot;
};

Result<RebootOptions> parse_reboot_options(const std::vector<std::string>& words);
// The lab's where none was said; must be there.
Status find_image(RebootOptions& options);
std::string reboot_help();

}  // namespace dvm::tools
