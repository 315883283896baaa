// `dvm-bench disk` and `dvm-bench net`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// The words after "disk" or "net".
Status bench_disk(const std::vector<std::string>& words);
Status bench_net(const std::vector<std::string>& words);

}  // namespace dvm::tools
