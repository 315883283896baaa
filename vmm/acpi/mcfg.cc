#include "vmm/acpi/mcfg.h"

#include "vmm/acpi/table.h"
#include "vmm/layout.h"

namespace dvm::vmm {

std::vector<u8> make_mcfg() {
  constexpr u8 kFirstBus = 0;
  constexpr u8 kLastBus = layout::kEcamBytes / kMiB - 1;  // 1 MiB for each bus
  return TableBuilder("MCFG", 1)
      .add(u64{0})  // reserved
      .add(layout::kEcamBase)
      .add(u16{0})  // PCI segment group
      .add(kFirstBus)
      .add(kLastBus)
      .add(u32{0})  // reserved
      .finish();
}

}  // namespace dvm::vmm
