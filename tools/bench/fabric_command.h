// `dvm-bench fabric`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// The words after "fabric".
Status bench_fabric(const std::vector<std::string>& words);

}  // namespace dvm::tools
