// `dvm-bench locality`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

Status bench_locality(const std::vector<std::string>& words);

}  // namespace dvm::tools
