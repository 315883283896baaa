// A vCPU's thread while the machine is paused, and under a debugger (vmm/debug_record.h):
// breakpoints, single steps, registers that were written.
#include <algorithm>
#include <cstring>

#include "vmm/vcpu_thread.h"

namespace dvm::vmm {
namespace {

constexpr u32 kMsrKernelGsBase = 0xc000'0102;  // AMD APM vol. 2 §6.1.1
constexpr u8 kDebugVector = 1, kBreakpointVector = 3;
constexpr u16 kPortCompletedEarly = 0x7e;  // KVM_X86_QUIRK_OUT_7E_INC_RIP

template <typename T>
bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

}  // namespace

// What KVM_RUN was answered (a port read, an MSR) goes into the registers when it is next called.
bool VcpuThread::finish_exit() {
  constexpr int kMostParts = 16;  // an access over two pages, or a string of them
  kvm_run& run = vcpu_.run();
  for (int i = 0; i < kMostParts; ++i) {
    run.immediate_exit = 1;
    run.cr8 = v_.lapic.tpr >> 4;
    const auto entered = run_kvm();
    if (!entered || *entered != 0) return true;
    handle(handle_exit(machine_, index_, run, vcpu_.run_bytes()));
  }
  return false;
}

void VcpuThread::save_image() {
  finish_exit();
  v_.image.saved = 0;
  const auto regs = vcpu_.regs();
  const auto sregs = vcpu_.sregs();
  const auto gs = vcpu_.msr(kMsrKernelGsBase);
  if (!regs || !sregs || !gs) return;
  v_.image = {*regs, *sregs, *gs, 1};
  if (const auto fpu = vcpu_.fpu()) machine_.state().debug_vcpus[index_].fpu = *fpu;
}

// While it is parked a debugger may write the image; it is not saved over until the vCPU has run.
void VcpuThread::park() {
  VcpuDebug& debug = machine_.state().debug_vcpus[index_];
  save_image();
  end_pause();
  tell_of_move();
  for (;;) {
    const u32 seen = fabric::listen(v_.bell);
    v_.run_state.store(VcpuRunState::parked, std::memory_order_seq_cst);
    fabric::ring(machine_.state().control.changed);
    if (machine_.state().control.phase.load() != Phase::paused || move_waits() || epoch_waits() ||
        checkpoint_waits())
      break;
    if (debug.step.load() == 0) {
      fabric::wait(v_.bell, seen, std::nullopt);
      continue;
    }
    v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
    step_one();
    save_image();
    debug.step.store(0);
  }
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  load_image();
}

Status VcpuThread::watch(bool step) {
  const DebugRecord& record = machine_.state().debug;
  kvm_guest_debug debug{};
  if (record.attached.load() != 0) {
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    if (step) debug.control |= KVM_GUESTDBG_SINGLESTEP;
    const u64 dr7 = record.dr7.load();
    if (dr7 != 0) debug.control |= KVM_GUESTDBG_USE_HW_BP;
    for (u32 i = 0; i < kHardwareBreakpoints; ++i)
      debug.arch.debugreg[i] = record.address[i].load();
    debug.arch.debugreg[7] = dr7;
  }
  return vcpu_.set_guest_debug(debug);
}

void VcpuThread::follow_debugger() {
  debug_seen_ = machine_.state().debug.generation.load();
  if (const auto told = watch(false); !told.ok()) fail(told.error().message);
}

// Values that KVM refuses leave the vCPU as it was: a debugger's mistake must not end the guest.
void VcpuThread::load_image() {
  VcpuDebug& debug = machine_.state().debug_vcpus[index_];
  if (debug.changed.exchange(0) == 0 || v_.image.saved == 0) return;
  Status loaded = vcpu_.set_regs(v_.image.regs);
  const auto sregs = vcpu_.sregs();
  if (loaded.ok() && sregs.ok() && !same(*sregs, v_.image.sregs))
    loaded = vcpu_.set_sregs(v_.image.sregs);
  if (loaded.ok()) loaded = vcpu_.set_fpu(debug.fpu);
  if (!loaded.ok())
    fmt::print(stderr, "dvm-node {}: vCPU {}: registers not set: {}\n", v_.node(), index_,
               loaded.error().message);
}

// A vCPU that is halted, or waits to be started, stays where it is.
void VcpuThread::step_one() {
  load_image();
  const auto waits = vcpu_.halted();
  if (halted() || !waits || *waits || v_.started.load() == 0) return;
  if (const auto told = watch(true); !told.ok()) return fail(told.error().message);
  constexpr int kMostEntries = 64;  // exits that an instruction takes to its end, and signals
  bool met = false;
  for (int i = 0; i < kMostEntries && !met && step_once(met); ++i) {
  }
  if (const auto told = watch(false); !told.ok()) fail(told.error().message);
  debug_seen_ = machine_.state().debug.generation.load();
}

// Enters the guest once; false: no more is to be done.
bool VcpuThread::step_once(bool& met) {
  kvm_run& run = vcpu_.run();
  run.immediate_exit = 0;
  run.request_interrupt_window = 0;
  run.cr8 = v_.lapic.tpr >> 4;
  const auto entered = run_kvm();
  if (!entered.ok()) {
    fail(entered.error().message);
    return false;
  }
  if ((v_.lapic.tpr >> 4) != run.cr8) v_.lapic.tpr = static_cast<u32>(run.cr8 << 4);
  if (*entered != 0) return machine_.state().control.phase.load() == Phase::paused;
  ++v_.counters.exits[run.exit_reason % v_.counters.exits.size()];
  met = run.exit_reason == KVM_EXIT_DEBUG && (run.debug.arch.exception != kBreakpointVector ||
                                              machine_.is_debug_breakpoint(run.debug.arch.pc));
  if (!met) handle(handle_exit(machine_, index_, run, vcpu_.run_bytes()));
  return !halted() && machine_.state().debug.stopped_by.load() == 0;
}

// An OUT that a debugger put there is as if it had not been executed. Where RIP is at its exit is a
// matter of the port, but not after KVM has completed it.
bool VcpuThread::met_trap() {
  kvm_run& run = vcpu_.run();
  if (run.exit_reason != KVM_EXIT_IO || run.io.direction != KVM_EXIT_IO_OUT) return false;
  auto regs = vcpu_.regs();
  const auto sregs = vcpu_.sregs();
  if (!regs.ok() || !sregs.ok()) return false;
  const u64 passed = run.io.port == kPortCompletedEarly ? 1 : 0;
  const u64 at = regs->rip - passed;
  if (!machine_.is_debug_breakpoint(sregs->cs.base + at)) return false;
  finish_exit();
  regs->rip = at;
  if (const auto set = vcpu_.set_regs(*regs); !set.ok()) fail(set.error().message);
  machine_.debug_stop(index_, 0);
  return true;
}

// Of an exception that is the guest's own, the guest is told.
void VcpuThread::on_debug_exit() {
  const kvm_debug_exit_arch exit = vcpu_.run().debug.arch;
  const u64 enabled = machine_.state().debug.dr7.load();
  // Of an INT3 KVM says nothing in dr6.
  if (exit.exception == kBreakpointVector && machine_.is_debug_breakpoint(exit.pc))
    return machine_.debug_stop(index_, 0);
  bool ours = false;
  for (u32 i = 0; i < kHardwareBreakpoints && exit.exception == kDebugVector; ++i)
    ours |= (exit.dr6 >> i & 1) != 0 && (enabled >> (2 * i) & 3) != 0;
  if (ours) return machine_.debug_stop(index_, static_cast<u32>(exit.dr6));
  const u8 vector = exit.exception == kBreakpointVector ? kBreakpointVector : kDebugVector;
  if (const auto told = vcpu_.inject_debug_exception(vector); !told.ok())
    fail(told.error().message);
}

}  // namespace dvm::vmm
