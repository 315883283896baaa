// dvm-bench recovery.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

Status bench_recovery(const std::vector<std::string>& words);

}  // namespace dvm::tools
