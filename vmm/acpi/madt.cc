#include "vmm/acpi/madt.h"

#include "vmm/acpi/table.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

// Interrupt controller structures: type and length, ACPI 6.5 table 5.21.
constexpr u8 kLocalApic = 0, kLocalApicBytes = 8;
constexpr u8 kIoApic = 1, kIoApicBytes = 12;
constexpr u8 kSourceOverride = 2, kSourceOverrideBytes = 10;
constexpr u8 kLocalApicNmi = 4, kLocalApicNmiBytes = 6;

constexpr u32 kEnabled = 1;
constexpr u32 kPcatCompat = 1;  // MADT flags: there is a pair of 8259s, to be masked
constexpr u8 kIsaBus = 0;
constexpr u16 kConforms = 0;  // MPS INTI flags (table 5.26): as the bus has it
constexpr u16 kLevelActiveHigh = 3 << 2 | 1 << 0;
constexpr u8 kAllProcessors = 0xff;
constexpr u8 kNmiPin = 1;  // LINT1, as on every PC

void add_override(TableBuilder& madt, u8 isa_irq, u32 gsi, u16 flags) {
  madt.add(kSourceOverride).add(kSourceOverrideBytes);
  madt.add(kIsaBus).add(isa_irq).add(gsi).add(flags);
}

}  // namespace

std::vector<u8> make_madt(u32 vcpus, bool has_pic) {
  TableBuilder madt("APIC", 5);
  madt.add(static_cast<u32>(layout::kLocalApicBase)).add(has_pic ? kPcatCompat : u32{0});
  for (u32 i = 0; i < vcpus; ++i) {
    const u8 id = static_cast<u8>(i);
    madt.add(kLocalApic).add(kLocalApicBytes).add(id).add(id).add(kEnabled);
  }
  madt.add(kIoApic).add(kIoApicBytes);
  madt.add(u8{0}).add(u8{0});                                   // id, reserved
  madt.add(static_cast<u32>(layout::kIoApicBase)).add(u32{0});  // first GSI
  add_override(madt, 0, layout::kPitGsi, kConforms);
  add_override(madt, layout::kErrorSourceGsi, layout::kErrorSourceGsi, kLevelActiveHigh);
  add_override(madt, layout::kSciGsi, layout::kSciGsi, kLevelActiveHigh);
  madt.add(kLocalApicNmi).add(kLocalApicNmiBytes);
  madt.add(kAllProcessors).add(kConforms).add(kNmiPin);
  return madt.finish();
}

}  // namespace dvm::vmm
