#include "vmm/vcpu_thread.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "fabric/failpoint.h"
#include "vmm/cpuid.h"

namespace dvm::vmm {
namespace {

constexpr u32 kMsrKernelGsBase = 0xc000'0102;  // AMD APM vol. 2 §6.1.1

thread_local kvm_run* current_run = nullptr;
thread_local volatile std::sig_atomic_t signal_seen = 0;

void on_kick(int) {
  signal_seen = 1;
  if (current_run != nullptr) current_run->immediate_exit = 1;
}

}  // namespace

Status install_kick_handler() {
  struct sigaction action {};
  action.sa_handler = on_kick;  // no SA_RESTART: a sleeping vCPU wakes as well
  if (::sigaction(fabric::kick_signal(), &action, nullptr) < 0) return sys_error("sigaction");
  return {};
}

VcpuThread::VcpuThread(Machine& machine, u32 index, Vcpu vcpu, fabric::Peer& peer)
    : machine_(machine),
      index_(index),
      v_(machine.state().vcpus[index]),
      vcpu_(std::move(vcpu)),
      peer_(peer),
      halts_before_(v_.counters.halts) {}

VcpuThread::~VcpuThread() { join(); }

Result<std::unique_ptr<VcpuThread>> VcpuThread::create(Machine& machine, Vm& vm, u32 index,
                                                       fabric::Peer& peer) {
  DVM_ASSIGN(Vcpu vcpu, vm.create_vcpu(index));
  std::unique_ptr<VcpuThread> thread(new VcpuThread(machine, index, std::move(vcpu), peer));
  DVM_TRY(thread->set_up());
  return thread;
}

Status VcpuThread::set_up() {
  const CpuBaseline& cpu = machine_.state().cpu;
  const u32 count = std::min(cpu.count.load(std::memory_order_acquire), CpuBaseline::kMaxEntries);
  DVM_TRY(vcpu_.set_cpuid(cpuid_for_vcpu({cpu.entries.data(), count}, index_)));
  DVM_TRY(vcpu_.set_tsc_offset(machine_.config().tsc_offset));
  // After CPUID: without its x2APIC bit KVM refuses this IA32_APIC_BASE.
  DVM_ASSIGN(reset_sregs_, vcpu_.sregs());
  reset_sregs_.apic_base = v_.lapic.apic_base;
  if (index_ != 0) return vcpu_.set_sregs(reset_sregs_);
  kvm_sregs sregs = reset_sregs_;
  kvm_regs regs{};
  fill_entry_sregs(machine_.state().entry, sregs);
  fill_entry_regs(machine_.state().entry, regs);
  DVM_TRY(vcpu_.set_sregs(sregs));
  return vcpu_.set_regs(regs);
}

void VcpuThread::start() {
  thread_ = std::thread([this] { run(); });
}

void VcpuThread::join() {
  if (thread_.joinable()) thread_.join();
}

void VcpuThread::run() {
  const auto life = peer_.register_thread();
  if (!life) return fail(life.error().message);
  current_run = &vcpu_.run();
  v_.pid.store(::getpid());
  v_.tid.store(static_cast<i32>(::syscall(SYS_gettid)));
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = fabric::kick_signal();
  event._sigev_un._tid = v_.tid.load();
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) {
    fail(sys_error("timer_create").message);
  } else {
    timer_ = timer;
    loop();
    ::timer_delete(timer);
  }
  v_.run_state.store(VcpuRunState::absent);
  current_run = nullptr;
}

void VcpuThread::loop() {
  v_.run_state.store(VcpuRunState::outside);
  for (;;) {
    const Phase phase = machine_.state().control.phase.load(std::memory_order_acquire);
    if (phase == Phase::paused) {
      park();
      continue;
    }
    if (phase != Phase::running) return;
    if (!take_signals()) {
      sleep(VcpuRunState::wait_sipi);
      continue;
    }
    lapic_check_timer(v_.lapic, v_.inbox, machine_.lapic_clock());
    deliver_interrupt();
    if (halted_) {
      sleep(VcpuRunState::halted);
    } else {
      enter();
    }
  }
}

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
    machine_.log_event(fabric::EventKind::vcpu_started, {index_, v_.node.load(), vector});
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

// The signal may have been the timer's, and the timer early: it runs on CLOCK_MONOTONIC, which
// drifts against the TSC, and the two cannot be read at one instant. So after any signal it is
// armed again.
void VcpuThread::arm_timer() {
  const u64 deadline = v_.lapic.deadline_tsc;
  if (signal_seen == 0 && deadline == armed_tsc_) return;
  signal_seen = 0;
  armed_tsc_ = deadline;
  itimerspec when{};
  if (deadline != 0) {
    const u64 ns = machine_.tsc_to_monotonic_ns(deadline);
    when.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  }
  ::timer_settime(timer_, TIMER_ABSTIME, &when, nullptr);
}

bool VcpuThread::interrupt_waits() const {
  return lapic_takes_ext_int(v_.lapic, v_.inbox) || lapic_pending(v_.lapic, v_.inbox).has_value();
}

bool VcpuThread::has_work() const {
  if (machine_.state().control.phase.load() != Phase::running || v_.inbox.signals.load() != 0)
    return true;
  const u64 deadline = v_.lapic.deadline_tsc;
  return deadline != 0 && deadline <= machine_.guest_tsc();
}

void VcpuThread::sleep(VcpuRunState as) {
  const u32 seen = fabric::listen(v_.bell);
  v_.run_state.store(as, std::memory_order_seq_cst);
  const bool interrupted = as == VcpuRunState::halted &&
                           v_.interruptible_halt.load(std::memory_order_relaxed) != 0 &&
                           interrupt_waits();
  if (!interrupted && !has_work()) {
    std::optional<u64> until;
    if (v_.lapic.deadline_tsc != 0) until = machine_.tsc_to_monotonic_ns(v_.lapic.deadline_tsc);
    ++v_.counters.halts;
    fabric::wait(v_.bell, seen, until);
  }
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
}

// What KVM_RUN was answered (a port read, an MSR) goes into the registers when it is next called.
void VcpuThread::finish_exit() {
  constexpr int kMostParts = 16;  // an access over two pages, or a string of them
  kvm_run& run = vcpu_.run();
  for (int i = 0; i < kMostParts; ++i) {
    run.immediate_exit = 1;
    run.cr8 = v_.lapic.tpr >> 4;
    const auto entered = vcpu_.enter();
    if (!entered || *entered != 0) return;
    handle(handle_exit(machine_, index_, run, vcpu_.run_bytes()));
  }
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
  for (;;) {
    const u32 seen = fabric::listen(v_.bell);
    v_.run_state.store(VcpuRunState::parked, std::memory_order_seq_cst);
    fabric::ring(machine_.state().control.changed);
    if (machine_.state().control.phase.load() != Phase::paused) break;
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

void VcpuThread::enter() {
  kvm_run& run = vcpu_.run();
  run.immediate_exit = 0;  // first: a signal from here on takes us out again
  arm_timer();
  if (machine_.state().debug.generation.load(std::memory_order_relaxed) != debug_seen_)
    follow_debugger();
  pv_eoi_before_entry();
  run.cr8 = v_.lapic.tpr >> 4;
  // A kick from here on finds in_guest and sends the signal; one from before is seen by the look
  // that follows.
  v_.run_state.store(VcpuRunState::in_guest, std::memory_order_seq_cst);
  const bool overtaken = has_work() || (run.request_interrupt_window == 0 && interrupt_waits());
  Result<int> entered = overtaken ? Result<int>(EINTR) : vcpu_.enter();
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  pv_eoi_after_exit();
  if (overtaken) return;
  if (!entered) return fail(entered.error().message);
  if ((v_.lapic.tpr >> 4) != run.cr8) v_.lapic.tpr = static_cast<u32>(run.cr8 << 4);
  if (*entered != 0) {
    ++v_.counters.signal_exits;
    return;
  }
  ++v_.counters.exits[run.exit_reason % v_.counters.exits.size()];
  fabric::failpoint("vcpu.exited");
  if (machine_.state().debug.attached.load(std::memory_order_relaxed) != 0 && met_trap()) return;
  handle(handle_exit(machine_, index_, run, vcpu_.run_bytes()));
}

void VcpuThread::handle(const ExitResult& result) {
  switch (result.outcome) {
    case ExitOutcome::go_on: return;
    case ExitOutcome::halted:
      halted_ = true;
      v_.interruptible_halt.store(vcpu_.run().if_flag, std::memory_order_relaxed);
      machine_.settle_transmits();
      return;
    case ExitOutcome::apic_base: {
      auto sregs = vcpu_.sregs();
      if (!sregs) return fail(sregs.error().message);
      sregs->apic_base = v_.lapic.apic_base;
      if (auto s = vcpu_.set_sregs(*sregs); !s.ok()) fail(s.error().message);
      return;
    }
    case ExitOutcome::debug: return on_debug_exit();
    case ExitOutcome::triple_fault: machine_.guest_panicked(1); return;
    case ExitOutcome::failed: return fail(result.why);
  }
}

void VcpuThread::publish_stats() {
  if (vcpu_.injection() == Injection::queued) return;
  v_.counters.halts = halts_before_ + vcpu_.stats().halts();
  v_.halted_in_kvm.store(vcpu_.stats().halted() ? 1 : 0, std::memory_order_relaxed);
}

void VcpuThread::fail(const std::string& why) {
  const auto regs = vcpu_.regs();
  fmt::print(stderr, "dvm-node {}: vCPU {} stopped: {} (rip {:#x})\n", v_.node.load(), index_, why,
             regs ? static_cast<u64>(regs->rip) : 0);
  machine_.log_event(fabric::EventKind::guest_error, {index_, vcpu_.run().exit_reason, 0});
  machine_.request_stop(StopReason::error);
}

}  // namespace dvm::vmm
