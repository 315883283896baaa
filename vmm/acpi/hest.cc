#include "vmm/acpi/hest.h"

#include "vmm/acpi/table.h"
#include "vmm/devices/error_source.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

// Generic hardware error source (§18.3.2.7) and its notification (§18.3.2.9).
constexpr u16 kGenericSource = 9, kNoRelatedSource = 0xffff;
constexpr u8 kSystemMemory = 0, kQuadword = 4;
constexpr u8 kExternalInterrupt = 1, kNotificationBytes = 28;

}  // namespace

std::vector<u8> make_hest() {
  TableBuilder hest("HEST", 1);
  hest.add(u32{1});  // sources
  hest.add(kGenericSource).add(u16{0}).add(kNoRelatedSource);
  hest.add(u8{0}).add(u8{1});                                   // flags, enabled
  hest.add(u32{1}).add(u32{1}).add(error_source::kBlockBytes);  // records, sections, raw bytes
  hest.add(kSystemMemory).add(u8{64}).add(u8{0}).add(kQuadword);
  hest.add(layout::kErrorSource + error_source::kAddressRegister);
  hest.add(kExternalInterrupt).add(kNotificationBytes).add(u16{0}).add(u32{0});
  hest.add(u32{layout::kErrorSourceGsi});
  hest.add(u64{0}).add(u64{0});  // no switch to polling
  hest.add(error_source::kBlockBytes);
  return hest.finish();
}

}  // namespace dvm::vmm
