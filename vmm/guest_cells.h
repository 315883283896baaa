// The devices of the machine that are guest state: what an epoch saves and a roll-back puts back.
// In the order in which all of their locks may be taken at once: who holds one of them alone takes
// no other but one that comes later here (a queue, its function's registers, the 8259s, the
// IOAPIC).
#pragma once

#include "vmm/machine_state.h"

namespace dvm::vmm {

// Calls `visit(cell)` for each cell. The order is part of the bank's layout (epoch_record.h).
template <typename State, typename Visit>
void for_each_guest_cell(State& s, Visit&& visit) {
  visit(s.serial);
  visit(s.rtc);
  visit(s.pit);
  visit(s.pm);
  visit(s.i8042);
  visit(s.reset_port);
  visit(s.pci_address);
  visit(s.host_bridge);
  visit(s.fw_cfg);
  visit(s.debug_port);
  visit(s.error_source);
  visit(s.watchdog);
  visit(s.generation);
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (s.config.functions[i].kind == FunctionKind::none) continue;
    for (auto& queue : s.functions[i].queues) visit(queue);
    visit(s.functions[i].device);
  }
  visit(s.net.control);
  visit(s.pic);
  visit(s.ioapic);
}

}  // namespace dvm::vmm
