// The records of a pool that a fault can damage, by name; where in the pool, and which bits, so
// that check_pool (vmm/pool_check.h) must find it.
#pragma once

#include <string>
#include <string_view>

#include "vmm/machine.h"

namespace dvm::tools {

struct CorruptPlace {
  u64 offset = 0;  // in the pool, bytes
  u32 mask = 0;    // the bits of that byte
};

// A page of guest RAM, which is no record: it is bad by its address.
inline constexpr std::string_view kPageRecord = "page";

// "header, machine, ..., page"
std::string corrupt_names();
// A usage error for a name that is none.
Status check_corrupt_name(const std::string& name);
// Not of a page.
Result<CorruptPlace> find_corrupt_place(vmm::Machine& machine, const std::string& name);

}  // namespace dvm::tools
