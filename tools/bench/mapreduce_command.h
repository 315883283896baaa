// `dvm-bench fabric mapreduce`.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// The words after "mapreduce".
Status bench_mapreduce(const std::vector<std::string>& words);

}  // namespace dvm::tools
