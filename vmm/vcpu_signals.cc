// What a vCPU's thread takes from its inbox: INIT, SIPI, NMI, and interrupts with their ends.
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

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
    v_.inbox.signals.fetch_and(~kSignalInit);
    halted_ = false;
    if (auto s = reset_registers(); !s.ok()) fail(s.error().message);
  }
  if (v_.started.load() == 0) {
    const u32 now = v_.inbox.signals.load();
    // An NMI means nothing to a processor that waits for SIPI; left there it would look like work.
    v_.inbox.signals.fetch_and(~(kSignalNmi | kSignalPanic));
    if ((now & kSignalSipi) == 0) return false;
    v_.inbox.signals.fetch_and(~(kSignalSipi | 0xff00u));
    const u8 vector = static_cast<u8>(now >> 8);
    if (auto s = start_at(vector); !s.ok()) fail(s.error().message);
    v_.started.store(1);
    machine_.log_event(fabric::EventKind::vcpu_started, {index_, v_.node(), vector});
  }
  lapic_drop_stray_sipi(v_.inbox);
  if ((v_.inbox.signals.fetch_and(~kSignalNmi) & kSignalNmi) != 0) {
    halted_ = false;
    if (auto s = vcpu_.inject_nmi(); !s.ok()) fail(s.error().message);
  }
  if ((v_.inbox.signals.fetch_and(~kSignalPanic) & kSignalPanic) != 0) {
    halted_ = false;
    auto s = vcpu_.end_halt();
    if (s.ok()) s = vcpu_.inject_double_fault();
    if (!s.ok()) fail(s.error().message);
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
  if (halted_ && v_.interruptible_halt.load(std::memory_order_relaxed) == 0) return;
  halted_ = false;
  if (run.ready_for_interrupt_injection == 0) {
    run.request_interrupt_window = 1;
    return;
  }
  if (lapic_takes_ext_int(v_.lapic, v_.inbox)) {
    const auto s = machine_.acknowledge_pic([&](u8 v) { return vcpu_.inject_interrupt(v); });
    if (!s.ok()) return fail(s.error().message);
  } else if (const auto vector = lapic_pending(v_.lapic, v_.inbox)) {
    if (auto s = vcpu_.inject_interrupt(*vector); !s.ok()) return fail(s.error().message);
    lapic_accept(v_.lapic, v_.inbox, *vector);
  }
  ++v_.counters.injected;
  run.ready_for_interrupt_injection = 0;  // KVM's answer is older than this injection
  run.request_interrupt_window = interrupt_waits() ? 1 : 0;
}

// PV EOI (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN), run by us because the
// in-kernel one belongs to one KVM VM: while the bit in guest memory is set, the guest clears it
// instead of writing the EOI register. Only when no other interrupt waits for that EOI.
void VcpuThread::pv_eoi_before_entry() {
  if ((v_.lapic.pv_eoi & 1) == 0 || lapic_any_requested(v_.inbox)) return;
  const auto vector = lapic_highest_in_service(v_.lapic);
  if (!vector || (v_.inbox.tmr[*vector / 32].load() & (1u << (*vector % 32))) != 0) return;
  const auto word = machine_.memory().span(v_.lapic.pv_eoi & ~3ull, 1);
  if (!word) return;
  __atomic_store_n(reinterpret_cast<u8*>(word->data()), 1, __ATOMIC_RELEASE);
  v_.lapic.pv_eoi_armed = 1;
}

void VcpuThread::pv_eoi_after_exit() {
  if (v_.lapic.pv_eoi_armed == 0) return;
  v_.lapic.pv_eoi_armed = 0;
  const auto word = machine_.memory().span(v_.lapic.pv_eoi & ~3ull, 1);
  if (!word) return;
  const u8 before =
      __atomic_exchange_n(reinterpret_cast<u8*>(word->data()), u8{0}, __ATOMIC_ACQ_REL);
  if ((before & 1) == 0) machine_.carry_out(lapic_eoi(v_.lapic, v_.inbox), index_);
}

}  // namespace dvm::vmm
