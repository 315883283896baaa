// Looks over the metadata of a running guest's pool: whatever is damaged is told by its name and
// its offset in the pool, and nothing that is damaged is followed.
#pragma once

#include <string>
#include <vector>

#include "vmm/machine.h"

namespace dvm::vmm {

// A line for each record, saying the first thing that is wrong with it; empty: nothing is. Takes no
// lock and changes nothing; one pass over the page directory.
std::vector<std::string> check_pool(Machine& machine);

}  // namespace dvm::vmm
