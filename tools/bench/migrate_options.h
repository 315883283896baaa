// The words of `dvm-bench migrate`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct MigrateOptions {
  bool help = false;
  bool json = false;
  bool machinery = false;
  bool peer_qemu = false;
  u32 moves = 100;
  u32 runs = 5;  // of QEMU
  u64 memory = 128 * kMiB;
  double limit_s = 300;
  std::string kernel;  // empty: that of the cache
  std::string initrd;
};

Result<MigrateOptions> parse_migrate_options(const std::vector<std::string>& words);
std::string migrate_help();

}  // namespace dvm::tools
