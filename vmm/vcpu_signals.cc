// What a vCPU's thread takes from its inbox: INIT, SIPI, NMI, and interrupts with their ends.
#include "fabric/failpoint.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

// A signal is taken out of the inbox after it has been carried out: killed in between, the vCPU
// does it again elsewhere. An NMI may come twice then.
bool VcpuThread::take_signals() {
  const u32 signals = v_.inbox.signals.load(std::memory_order_acquire);
  if (signals == 0) return v_.started.load() != 0;
  if ((signals & kSignalInit) != 0) {
    if (index_ == 0) {  // the bootstrap processor would start at the reset vector: a warm reset
      v_.inbox.signals.fetch_and(~kSignalInit);
      machine_.request_reset();
      return true;
    }
    v_.started.store(0);  // before INIT is taken: a SIPI that follows it must find one or the other
    set_halted(false);
    if (auto s = reset_registers(); !s.ok()) fail(s.error().message);
    v_.inbox.signals.fetch_and(~kSignalInit);
  }
  if (v_.started.load() == 0) {
    const u32 now = v_.inbox.signals.load();
    // An NMI means nothing to a processor that waits for SIPI; left there it would look like work.
    v_.inbox.signals.fetch_and(~(kSignalNmi | kSignalPanic));
    if ((now & kSignalSipi) == 0) return false;
    const u8 vector = static_cast<u8>(now >> 8);
    if (auto s = start_at(vector); !s.ok()) fail(s.error().message);
    v_.started.store(1);
    v_.inbox.signals.fetch_and(~(kSignalSipi | 0xff00u));
    machine_.log_event(fabric::EventKind::vcpu_started, {index_, v_.node(), vector});
  }
  lapic_drop_stray_sipi(v_.inbox);
  if ((v_.inbox.signals.load() & kSignalNmi) != 0) {
    set_halted(false);
    if (auto s = vcpu_.inject_nmi(); !s.ok()) fail(s.error().message);
    v_.inbox.signals.fetch_and(~kSignalNmi);
  }
  if ((v_.inbox.signals.load() & kSignalPanic) != 0) {
    set_halted(false);
    auto s = vcpu_.end_halt();
    if (s.ok()) s = vcpu_.inject_double_fault();
    if (!s.ok()) fail(s.error().message);
    v_.inbox.signals.fetch_and(~kSignalPanic);
  }
  return true;
}

Status VcpuThread::reset_registers() {
  lapic_init_signal(v_.lapic, v_.inbox);
  kvm_sregs sregs = reset_sregs_;
  sregs.apic_base = v_.lapic.apic_base;
  DVM_TRY(vcpu_.set_sregs(sregs));
  DVM_TRY(vcpu_.end_halt());
  kvm_vcpu_events events{};
  DVM_TRY(kvm_ioctl(vcpu_.fd(), KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  kvm_debugregs debug{};
  debug.dr6 = 0xffff'0ff0;  // Intel SDM vol. 3A table 9-1
  debug.dr7 = 0x400;
  DVM_TRY(kvm_ioctl(vcpu_.fd(), KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &debug));
  vcpu_.run().ready_for_interrupt_injection = 0;
  return {};
}

// SIPI: real mode at vector * 4 KiB (Intel SDM vol. 3A §9.4.4.1).
Status VcpuThread::start_at(u8 sipi_vector) {
  kvm_sregs sregs = reset_sregs_;
  sregs.apic_base = v_.lapic.apic_base;
  sregs.cs.selector = static_cast<u16>(sipi_vector << 8);
  sregs.cs.base = static_cast<u64>(sipi_vector) << 12;
  DVM_TRY(vcpu_.set_sregs(sregs));
  kvm_regs regs{};
  regs.rflags = 2;
  return vcpu_.set_regs(regs);
}

void VcpuThread::deliver_interrupt() {
  kvm_run& run = vcpu_.run();
  run.request_interrupt_window = 0;
  if (!interrupt_waits()) return;
  if (halted() && v_.interruptible_halt.load(std::memory_order_relaxed) == 0) return;
  set_halted(false);
  if (run.ready_for_interrupt_injection == 0) {
    run.request_interrupt_window = 1;
    return;
  }
  if (lapic_takes_ext_int(v_.lapic, v_.inbox)) {
    const auto s = machine_.acknowledge_pic([&](u8 v) { return vcpu_.inject_interrupt(v); });
    if (!s.ok()) return fail(s.error().message);
  } else if (const auto vector = lapic_pending(v_.lapic, v_.inbox)) {
    VcpuJournal& journal = v_.journal;
    journal.vector = *vector;
    journal.after = journal.phase.load(std::memory_order_relaxed);
    journal.phase.store(VcpuPhase::injecting, std::memory_order_release);
    fabric::failpoint("vcpu.injecting");
    if (auto s = vcpu_.inject_interrupt(*vector); !s.ok()) return fail(s.error().message);
    fabric::failpoint("vcpu.injected");
    lapic_accept(v_.lapic, v_.inbox, *vector);
    journal.phase.store(journal.after, std::memory_order_release);
  }
  ++v_.counters.injected;
  run.ready_for_interrupt_injection = 0;  // KVM's answer is older than this injection
  run.request_interrupt_window = interrupt_waits() ? 1 : 0;
}

}  // namespace dvm::vmm
