// The words of `dvm-bench boot`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct BootOptions {
  bool help = false;
  bool json = false;
  bool peer_qemu = false;
  bool reasons = false;
  bool software = false;  // each over two nodes or more with software coherence as well
  u32 runs = 5;
  u32 cpus = 2;
  u64 memory = 512 * kMiB;
  std::vector<u32> nodes = {1, 2};
  double limit_s = 60;
  std::string kernel;  // empty: that of the cache
  std::string initrd;
  std::string coherent_memory;  // for these, as dvm-run takes it; empty: its default
  std::string append = "console=ttyS0 quiet dvm.cmd=true";
  std::optional<std::string> plot;
};

Result<BootOptions> parse_boot_options(const std::vector<std::string>& words);
// Those of tools/guest-files where none were said; all must be there.
Status find_guest_files(BootOptions& options);
std::string boot_help();

}  // namespace dvm::tools
