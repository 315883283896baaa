// The records of a pool that a fault can damage, by name; where in the pool, and which bits, so
// that check_pool (vmm/pool_check.h) must find it.
#pragma once

#include <string>

#include "vmm/machine.h"

namespace dvm::tools {

struct CorruptPlace {
  u64 offset = 0;  // in the pool, bytes
  u32 mask = 0;    // the bits of that byte
};

// "header, machine, ..."
std::string corrupt_names();
// A usage error for a name that is none; for a guest's page, which cannot be poisoned yet.
Status check_corrupt_name(const std::string& name);
Result<CorruptPlace> find_corrupt_place(vmm::Machine& machine, const std::string& name);

}  // namespace dvm::tools
