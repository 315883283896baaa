// Pages of guest RAM that are found bad: the guest is told, and takes them out of use.
#include "vmm/boot/e820.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {

bool Machine::is_ram(u64 gpa) const {
  for (const RamPart& part : ram_layout(state_->config.memory_bytes)) {
    if (gpa >= part.gpa && gpa - part.gpa < part.bytes) return true;
  }
  return false;
}

bool Machine::report_bad_page(u64 gpa) {
  if (!is_ram(gpa)) return false;
  return step(state_->error_source, kErrorSourceLine, error_source_irq,
              [&](ErrorSourceState& s) { return error_source_report(s, gpa); });
}

ErrorSourceState Machine::bad_pages() {
  return step(state_->error_source, kErrorSourceLine, error_source_irq,
              [](const ErrorSourceState& s) { return s; });
}

}  // namespace dvm::vmm
