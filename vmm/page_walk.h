// Guest-virtual to guest-physical, as a processor in that state would (Intel SDM vol. 3A §4.3 to
// §4.5): without paging, 32-bit, PAE, four and five levels, with large pages. Rights are not
// checked: it is for debuggers. Pure, but for guest memory.
#pragma once

#include "hyperkernel/guest_memory.h"

namespace dvm::vmm {

// The registers that decide.
struct PagingState {
  u64 cr0 = 0;
  u64 cr3 = 0;
  u64 cr4 = 0;
  u64 efer = 0;
};

struct Translation {
  u64 gpa;
  bool user;  // code at privilege level 3 may use the page; false without paging
};

// An error: no page is there, or a table is not in RAM. Reads each entry once; at most five.
Result<Translation> walk_page_tables(const hyperkernel::GuestMemory& memory,
                                     const PagingState& state, u64 address);

}  // namespace dvm::vmm
