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
#include "vmm/pv_eoi.h"

namespace dvm::vmm {
namespace {

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
      move_(v_.move),
      node_(static_cast<u8>(machine.self().id - kFirstNodeInstance)),
      vcpu_(std::move(vcpu)),
      peer_(peer),
      halts_before_(v_.counters.halts) {}

VcpuThread::~VcpuThread() { join(); }

Result<Vcpu> make_vcpu(const Machine& machine, Vm& vm, u32 index) {
  if (auto ready = vm.made_ahead(index)) return std::move(*ready);
  DVM_ASSIGN(Vcpu vcpu, vm.create_vcpu(index));
  const CpuBaseline& cpu = machine.state().cpu;
  const u32 count = std::min(cpu.count.load(std::memory_order_acquire), CpuBaseline::kMaxEntries);
  DVM_TRY(vcpu.set_cpuid(cpuid_for_vcpu({cpu.entries.data(), count}, index)));
  return vcpu;
}

Result<std::unique_ptr<VcpuThread>> VcpuThread::create(Machine& machine, Vm& vm, u32 index,
                                                       fabric::Peer& peer) {
  DVM_ASSIGN(Vcpu vcpu, make_vcpu(machine, vm, index));
  std::unique_ptr<VcpuThread> thread(new VcpuThread(machine, index, std::move(vcpu), peer));
  DVM_TRY(thread->set_up(vm));
  return thread;
}

Status VcpuThread::set_up(Vm& vm) {
  DVM_TRY(vcpu_.set_tsc_offset(machine_.state().control.tsc_offset.load()));
  if (machine_.epoch() != nullptr) DVM_TRY(vcpu_.follow_vectors());
  DVM_ASSIGN(transfer_, VcpuTransfer::of(vm, vcpu_));
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
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = fabric::kick_signal();
  event._sigev_un._tid = static_cast<i32>(::syscall(SYS_gettid));
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) {
    fail(sys_error("timer_create").message);
  } else {
    timer_ = timer;
    run_where_placed();
    ::timer_delete(timer);
  }
  current_run = nullptr;
}

void VcpuThread::run_where_placed() {
  while (wait_for_vcpu()) {
    // Kicks go here from the moment that a run state says they can.
    v_.pid.store(::getpid());
    v_.tid.store(static_cast<i32>(::syscall(SYS_gettid)));
    loop();
    if (!here_.load()) continue;
    v_.run_state.store(VcpuRunState::absent);
    return;
  }
}

void VcpuThread::loop() {
  v_.run_state.store(VcpuRunState::outside);
  for (;;) {
    const Phase phase = machine_.state().control.phase.load(std::memory_order_acquire);
    const bool goes_on = phase == Phase::running || phase == Phase::paused;
    if (goes_on && all_power_fails()) {
      leave_saved();
      continue;
    }
    if (goes_on && epoch_waits()) {
      stand_still();
      continue;
    }
    if (goes_on && checkpoint_waits()) {
      stand_for_checkpoint();
      continue;
    }
    if (goes_on && move_waits()) {
      if (hand_over()) return;
      continue;
    }
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
    if (halted()) {
      sleep(VcpuRunState::halted);
    } else {
      enter();
    }
  }
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
  if (machine_.state().control.phase.load() != Phase::running || v_.inbox.signals.load() != 0 ||
      move_waits() || epoch_waits() || all_power_fails() || checkpoint_waits())
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
    end_pause();
    tell_of_move();
    fabric::wait(v_.bell, seen, until);
  }
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
}

// From here on whoever finds this thread dead sees by kvm_run::exit_reason whether an exit waits.
Result<int> VcpuThread::run_kvm() {
  vcpu_.run().exit_reason = kNoExit;
  v_.journal.phase.store(VcpuPhase::entering, std::memory_order_release);
  return vcpu_.enter();
}

void VcpuThread::enter() {
  kvm_run& run = vcpu_.run();
  run.immediate_exit = 0;  // first: a signal from here on takes us out again
  arm_timer();
  if (machine_.state().debug.generation.load(std::memory_order_relaxed) != debug_seen_)
    follow_debugger();
  pv_eoi_before_entry(machine_, index_);
  run.cr8 = v_.lapic.tpr >> 4;
  // A kick from here on finds in_guest and sends the signal; one from before is seen by the look
  // that follows.
  v_.run_state.store(VcpuRunState::in_guest, std::memory_order_seq_cst);
  const bool overtaken = has_work() || (run.request_interrupt_window == 0 && interrupt_waits());
  if (pausing_ && !overtaken) end_pause();
  Result<int> entered = overtaken ? Result<int>(EINTR) : run_kvm();
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  if (overtaken) return pv_eoi_after_exit(machine_, index_);
  fabric::failpoint("vcpu.left");
  pv_eoi_after_exit(machine_, index_);
  if (move_.untold.load(std::memory_order_relaxed) != 0) tell_of_move();
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
    case ExitOutcome::halted: machine_.settle_transmits(); return;
    case ExitOutcome::apic_base: {
      auto sregs = vcpu_.sregs();
      if (!sregs) return fail(sregs.error().message);
      sregs->apic_base = v_.lapic.apic_base;
      if (auto s = vcpu_.set_sregs(*sregs); !s.ok()) fail(s.error().message);
      return;
    }
    case ExitOutcome::debug: return on_debug_exit();
    case ExitOutcome::triple_fault: return;
    case ExitOutcome::failed: return fail(result.why);
  }
}

void VcpuThread::publish_stats() {
  if (!here_.load()) return;
  if (move_.untold.load(std::memory_order_relaxed) != 0) tell_of_move();
  if (vcpu_.injection() == Injection::queued) return;
  v_.counters.halts = halts_before_.load() + vcpu_.stats().halts();
  v_.halted_in_kvm.store(vcpu_.stats().halted() ? 1 : 0, std::memory_order_relaxed);
}

void VcpuThread::fail(const std::string& why) {
  const auto regs = vcpu_.regs();
  fmt::print(stderr, "dvm-node {}: vCPU {} stopped: {} (rip {:#x})\n", v_.node(), index_, why,
             regs ? static_cast<u64>(regs->rip) : 0);
  machine_.log_event(fabric::EventKind::guest_error, {index_, vcpu_.run().exit_reason, 0});
  machine_.request_stop(StopReason::error);
}

}  // namespace dvm::vmm
