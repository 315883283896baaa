// Looks over the metadata of a running guest's pool: whatever is damaged is told by its name and
// its offset in the pool, and nothing that is damaged is followed.
#pragma once

#include <string>
#include <vector>

#include "vmm/machine.h"

namespace dvm::vmm {

// One line each, at most kMost of a record; empty: nothing is wrong. Takes no lock and changes
// nothing; one pass over the page directory.
inline constexpr std::size_t kMostOfARecord = 8;
std::vector<std::string> check_pool(Machine& machine);

}  // namespace dvm::vmm
