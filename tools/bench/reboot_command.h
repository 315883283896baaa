// `dvm-bench reboot`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// The words after "reboot".
Status bench_reboot(const std::vector<std::string>& words);

}  // namespace dvm::tools
