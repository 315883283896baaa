// One node's mapping of guest RAM: address space in guest-physical order, each page mapped from the
// frame its directory entry names.
#pragma once

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
  // `shift`: frames lie so many further than the directory says (RAM has several places).
  static Result<GuestView> map(const fabric::Pool& pool, const PageDirectory& directory,
                               const std::vector<RamPart>& parts, u64 shift = 0);
  // The same address space, from other frames: who reads or writes meanwhile meets either. Made by
  // `map` with these parts.
  Status map_again(const fabric::Pool& pool, const PageDirectory& directory,
                   const std::vector<RamPart>& parts, u64 shift) const;

  // RAM that lies in guest order from `base` on, mapped and kept by somebody else.
  static GuestView over(std::byte* base, const std::vector<RamPart>& parts);

  const GuestMemory& memory() const { return memory_; }

 private:
  std::vector<Mapping> mappings_;
  GuestMemory memory_;
};

}  // namespace dvm::hyperkernel
