// Interrupts: from whoever sends them to the inboxes of the vCPUs they are for, on any node.
#include <bit>

#include "fabric/partition.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

bool is_target(const MachineState& s, u32 index, const InterruptMessage& m, Sender sender) {
  switch (m.shorthand) {
    case Shorthand::self: return sender == index;
    case Shorthand::all: return true;
    case Shorthand::all_but_self: return sender != index;
    case Shorthand::none: break;
  }
  return lapic_matches(s.vcpus[index].lapic, m.destination, m.logical);
}

void post_sipi(LapicInbox& inbox, const VcpuRecord& v, u8 vector) {
  // Taken only while waiting for it, or with an INIT on its way (Intel SDM vol. 3A §9.4.4.1).
  u32 seen = inbox.signals.load();
  const bool waits = v.run_state.load() == VcpuRunState::wait_sipi || v.started.load() == 0;
  while (waits || (seen & kSignalInit) != 0) {
    const u32 next = (seen & 0xff) | kSignalSipi | (static_cast<u32>(vector) << 8);
    if (inbox.signals.compare_exchange_weak(seen, next)) return;
  }
}

// Puts the message into one inbox; false when that changes nothing there.
bool post(VcpuRecord& v, const InterruptMessage& m) {
  switch (m.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority: return lapic_request(v.inbox, m.vector, m.level_triggered);
    case DeliveryMode::nmi: v.inbox.signals.fetch_or(kSignalNmi); return true;
    case DeliveryMode::init:
      if (!m.level_asserted) return false;
      v.inbox.signals.store(kSignalInit);  // forgets an older SIPI
      return true;
    case DeliveryMode::sipi: post_sipi(v.inbox, v, m.vector); return true;
    case DeliveryMode::smi:
    case DeliveryMode::ext_int:
      return false;  // no SMM; an 8259 is wired to LINT0, not to the IOAPIC
  }
  return false;
}

}  // namespace

// The inboxes only, which is all that is done under a device's lock: whoever takes that over from
// the dead posts again.
VcpuSet Machine::post_message(const InterruptMessage& m, Sender sender) {
  const u32 count = state_->config.vcpus;
  VcpuSet changed = 0;
  if (m.mode == DeliveryMode::lowest_priority) {
    // Arbitration by vector: each vector has its place among the targets, so they spread evenly.
    u32 targets = 0;
    for (u32 i = 0; i < count; ++i) targets += is_target(*state_, i, m, sender) ? 1u : 0u;
    u32 skip = targets == 0 ? 0 : m.vector % targets;
    for (u32 i = 0; i < count; ++i) {
      if (!is_target(*state_, i, m, sender) || skip-- != 0) continue;
      return post(state_->vcpus[i], m) ? 1ull << i : 0;
    }
    return 0;
  }
  for (u32 i = 0; i < count; ++i) {
    if (is_target(*state_, i, m, sender) && post(state_->vcpus[i], m)) changed |= 1ull << i;
  }
  return changed;
}

VcpuSet Machine::post_messages(const IoApicMessages& messages) {
  VcpuSet changed = 0;
  for (u32 i = 0; i < messages.count; ++i)
    changed |= post_message(messages.messages[i], std::nullopt);
  return changed;
}

void Machine::send(const InterruptMessage& m, Sender sender) {
  kick_all(post_message(m, sender), sender);
}

void Machine::kick_all(VcpuSet vcpus, Sender sender) {
  for (; vcpus != 0; vcpus &= vcpus - 1) kick(static_cast<u32>(std::countr_zero(vcpus)), sender);
}

void Machine::kick(u32 vcpu, Sender sender) {
  if (sender == vcpu) return;  // it looks at its inbox before it enters the guest again
  VcpuRecord& v = state_->vcpus[vcpu];
  // The other half of this handshake is in VcpuThread::enter: it publishes in_guest (or halted) and
  // looks at the inbox after that, we wrote the inbox before we look at its state here. All four
  // are sequentially consistent, so one of the two sees what the other wrote.
  switch (v.run_state.load(std::memory_order_seq_cst)) {
    case VcpuRunState::halted:
    case VcpuRunState::wait_sipi:
    case VcpuRunState::parked: fabric::ring(v.bell); break;
    case VcpuRunState::in_guest:
      // Cut off: late. Whoever heals the partition kicks everyone.
      if (!fabric::reaches(kFirstNodeInstance + v.node())) break;
      fabric::kick_thread(v.pid.load(std::memory_order_relaxed),
                          v.tid.load(std::memory_order_relaxed));
      break;
    case VcpuRunState::outside:
    case VcpuRunState::absent: v.bell.rings.fetch_add(1, std::memory_order_acq_rel); return;
  }
  if (sender) ++state_->vcpus[*sender].counters.kicks_sent;
}

VcpuSet Machine::drive_line(u8 pin, u8 source, bool high) {
  const VcpuSet changed =
      step_ioapic([&](IoApicState& s) { return ioapic_set_line(s, pin, source, high); });
  return has_firmware() ? changed | drive_pic(pin, high) : changed;
}

void Machine::set_line(u8 pin, u8 source, bool high) {
  kick_all(drive_line(pin, source, high), std::nullopt);
}

void Machine::end_of_interrupt(u8 vector) {
  kick_all(step_ioapic([&](IoApicState& s) { return ioapic_eoi(s, vector); }), std::nullopt);
}

void Machine::carry_out(const LapicAction& action, u32 vcpu) {
  if (action.level_eoi) end_of_interrupt(*action.level_eoi);
  if (action.ipi) send(*action.ipi, vcpu);
}

}  // namespace dvm::vmm
