// Where RAM lies in guest-physical address space.
#pragma once

#include "fabric/types.h"

namespace dvm::hyperkernel {

// A run of RAM: guest addresses [gpa, gpa + bytes) are bytes [offset, offset + bytes) of the
// guest's RAM, and its pages have the directory's entries from offset / 4096 on.
struct RamPart {
  u64 gpa = 0;
  u64 bytes = 0;
  u64 offset = 0;
};

}  // namespace dvm::hyperkernel
