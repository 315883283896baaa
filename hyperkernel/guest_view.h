// One node's mapping of guest RAM: address space in guest-physical order, each page mapped from the
// frame its directory entry names.
#pragma once

#include <functional>
#include <vector>

#include "fabric/pool.h"
#include "hyperkernel/guest_memory.h"
#include "hyperkernel/page_directory.h"
#include "hyperkernel/ram_layout.h"

namespace dvm::hyperkernel {

class GuestView {
 public:
  // Reads the directory and maps every page. Parts are mapped 1 GiB-aligned, congruent with guest
  // addresses, and with huge pages where the file and the kernel offer them.
  static Result<GuestView> map(const fabric::Pool& pool, const PageDirectory& directory,
                               const std::vector<RamPart>& parts);
  // RAM that lies in its order from `first_frame` on: nothing has to be looked up page by page.
  static Result<GuestView> map_in_order(const fabric::Pool& pool, const std::vector<RamPart>& parts,
                                        u64 first_frame);

  // RAM that lies in guest order from `base` on, mapped and kept by somebody else.
  static GuestView over(std::byte* base, const std::vector<RamPart>& parts);

  const GuestMemory& memory() const { return memory_; }

 private:
  static Result<GuestView> map_parts(
      const std::vector<RamPart>& parts,
      const std::function<Status(const Mapping& at, const RamPart& part)>& map_one);
  std::vector<Mapping> mappings_;
  GuestMemory memory_;
};

}  // namespace dvm::hyperkernel
