// What a write that waits for its page to be saved costs here, measured.
#pragma once

#include "fabric/types.h"

namespace dvm::hyperkernel {

// How many pages are copied in the time of one fault that another thread serves; 8 to 200, and 20
// where it cannot be measured. Takes some milliseconds at most.
u32 copies_for_a_fault();

}  // namespace dvm::hyperkernel
