// `dvm-bench restore`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

Status bench_restore(const std::vector<std::string>& words);

}  // namespace dvm::tools
