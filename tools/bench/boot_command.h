// `dvm-bench boot`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// The words after "boot".
Status bench_boot(const std::vector<std::string>& words);

}  // namespace dvm::tools
