#include "vmm/kvm/vcpu_transfer.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "fabric/doorbell.h"
#include "vmm/irq/lapic_registers.h"
#include "vmm/kvm_clock.h"

namespace dvm::vmm {
namespace {

constexpr u32 kMsrTsc = 0x10, kMsrOldWallClock = 0x11, kMsrOldSystemTime = 0x12;
constexpr u8 kAnyVector = 0x20;

// The TSC goes by its offset; the others are in the pool (VcpuRecord::lapic, ::clock).
bool is_ours(u32 msr) {
  constexpr std::array kOurs = {kMsrTsc,           kMsrOldWallClock, kMsrOldSystemTime,
                                kMsrApicBase,      kMsrTscDeadline,  kMsrKvmPvEoi,
                                kMsrKvmSystemTime, kMsrKvmWallClock};
  return std::ranges::find(kOurs, msr) != kOurs.end() ||
         (msr >= kMsrX2ApicFirst && msr <= kMsrX2ApicLast);
}

// kvm_sregs and kvm_sregs2 begin alike.
constexpr u64 kCommonSregs = offsetof(kvm_sregs, interrupt_bitmap);
static_assert(kCommonSregs == offsetof(kvm_sregs2, flags));

// kvm_signal_mask with its set.
struct SignalMask {
  u32 bytes = 8;
  std::array<u32, 2> set{};
};
static_assert(sizeof(SignalMask) == 12 && sizeof(kvm_signal_mask) == 4);

// kvm_msrs with room for its entries.
struct MsrBuffer {
  u32 count = 0, padding = 0;
  std::array<kvm_msr_entry, kMaxStateMsrs> entries;
};
static_assert(offsetof(MsrBuffer, entries) == sizeof(kvm_msrs));

// The kick signal pending, and for the calling thread blocked, until the destructor takes it away.
class PendingKick {
 public:
  PendingKick() {
    ::sigemptyset(&kick_);
    ::sigaddset(&kick_, fabric::kick_signal());
    ::pthread_sigmask(SIG_BLOCK, &kick_, &before_);
    fabric::kick_thread(::getpid(), static_cast<i32>(::syscall(SYS_gettid)));
  }
  ~PendingKick() {
    const timespec at_once{};
    while (::sigtimedwait(&kick_, nullptr, &at_once) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PendingKick(const PendingKick&) = delete;
  PendingKick& operator=(const PendingKick&) = delete;

 private:
  sigset_t kick_, before_;
};

}  // namespace

Result<VcpuTransfer> VcpuTransfer::of(Vm& vm, Vcpu& vcpu) {
  VcpuTransfer transfer(vcpu);
  transfer.xsave_ = vm.offers(KVM_CAP_XSAVE);
  transfer.xcrs_ = vm.offers(KVM_CAP_XCRS);
  transfer.sregs2_ = vm.offers(KVM_CAP_SREGS2);
  DVM_TRY(transfer.list_msrs(vm));
  return transfer;
}

// Those that KVM lists and then does not tell of are not this vCPU's.
Status VcpuTransfer::list_msrs(Vm& vm) {
  DVM_ASSIGN(msrs_, vm.readable_msrs(*vcpu_));
  std::erase_if(msrs_, is_ours);
  if (msrs_.size() > kMaxStateMsrs) return error("{} MSRs are too many", msrs_.size());
  return {};
}

// How many were read: KVM stops at the first that it does not tell of.
Result<u32> VcpuTransfer::get_msrs(u32* count, kvm_msr_entry* entries) const {
  for (std::size_t i = 0; i < msrs_.size(); ++i) entries[i] = {msrs_[i], 0, 0};
  *count = static_cast<u32>(msrs_.size());
  DVM_ASSIGN(const int read, kvm_ioctl(vcpu_->fd(), KVM_GET_MSRS, "KVM_GET_MSRS", count));
  return static_cast<u32>(read);
}

Status VcpuTransfer::save_msrs(VcpuState& state) const {
  state.reserved = 0;
  DVM_ASSIGN(const u32 read, get_msrs(&state.msr_count, state.msrs.data()));
  if (read != msrs_.size())
    return error("ioctl KVM_GET_MSRS: no MSR {:#x}, which there was", msrs_[read]);
  return {};
}

Status VcpuTransfer::save(VcpuState& state) {
  state.parts = (xsave_ ? kPartXsave : 0) | (xcrs_ ? kPartXcrs : 0) | (sregs2_ ? kPartPdptrs : 0);
  state.injection = static_cast<u32>(vcpu_->injection());
  DVM_ASSIGN(const auto vector, vcpu_->take_waiting_vector());
  state.vector = vector ? *vector : kNoWaitingVector;
  DVM_ASSIGN(state.mp_state, vcpu_->mp_state());
  // Before CR2 and DR6: an exception that waits is put into them by this. After the above, which
  // may complete what is on its way.
  const Fd& fd = vcpu_->fd();
  DVM_TRY(kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &state.events));
  DVM_ASSIGN(state.regs, vcpu_->regs());
  if (sregs2_) {
    DVM_ASSIGN(state.sregs, vcpu_->sregs2());
  } else {
    DVM_ASSIGN(const kvm_sregs sregs, vcpu_->sregs());
    state.sregs = {};
    std::memcpy(&state.sregs, &sregs, kCommonSregs);
  }
  if (xsave_) {
    DVM_TRY(kvm_ioctl(fd, KVM_GET_XSAVE, "KVM_GET_XSAVE", state.fpu.data()));
  } else {
    DVM_TRY(kvm_ioctl(fd, KVM_GET_FPU, "KVM_GET_FPU", state.fpu.data()));
  }
  if (xcrs_) DVM_TRY(kvm_ioctl(fd, KVM_GET_XCRS, "KVM_GET_XCRS", &state.xcrs));
  DVM_TRY(kvm_ioctl(fd, KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", &state.debug));
  DVM_TRY(save_msrs(state));
  DVM_ASSIGN(state.tsc_offset, vcpu_->tsc_offset());
  return {};
}

// A vector given by KVM_INTERRUPT stays until the guest takes it; KVM has no ioctl to see it or to
// take it back. A KVM_RUN with a signal pending goes as far as to inject it, finds the signal and
// turns back before an instruction; then it is an event like others, which can be overwritten.
//
// A vCPU that was waiting for a page when it left (asynchronous page faults) stands by still, or is
// about to: then KVM finds the signal after each step out of that, before it injects anything.
Status VcpuTransfer::drive_out_vector() {
  constexpr int kMostSteps = 4;  // to stand by, to be woken, to inject; and one more
  if (vcpu_->injection() == Injection::queued) return {};
  const Fd& fd = vcpu_->fd();
  DVM_TRY(vcpu_->end_halt());
  kvm_vcpu_events none{};
  none.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  DVM_TRY(kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &none));
  kvm_regs interruptible{};
  interruptible.rflags = 0x202;
  DVM_TRY(vcpu_->set_regs(interruptible));
  (void)vcpu_->inject_interrupt(kAnyVector);  // refused if one is there, which does as well
  for (int i = 0; i < kMostSteps; ++i) {
    DVM_TRY(turn_back());
    kvm_vcpu_events events{};
    DVM_TRY(kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &events));
    if (events.interrupt.injected == 0) continue;
    vcpu_->no_vector_waits();
    DVM_TRY(kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &none));
    return {};
  }
  return error("KVM does not let go of an interrupt");
}

// A KVM_RUN that ends before the guest's next instruction.
Status VcpuTransfer::turn_back() {
  const Fd& fd = vcpu_->fd();
  SignalMask mask;
  sigset_t unblocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &unblocked);
  ::sigdelset(&unblocked, fabric::kick_signal());
  std::memcpy(mask.set.data(), &unblocked, sizeof(mask.set));
  const PendingKick kick;
  vcpu_->run().immediate_exit = 0;
  vcpu_->run().request_interrupt_window = 0;
  DVM_TRY(kvm_ioctl(fd, KVM_SET_SIGNAL_MASK, "KVM_SET_SIGNAL_MASK", &mask));
  const auto entered = vcpu_->enter();
  DVM_TRY(kvm_ioctl(fd, KVM_SET_SIGNAL_MASK, "KVM_SET_SIGNAL_MASK"));
  if (!entered.ok()) return entered.error();
  return {};
}

Status VcpuTransfer::prepare() {
  if (vcpu_->follows_vectors()) DVM_TRY(vcpu_->take_waiting_vector());
  if (vcpu_->vector_may_wait()) DVM_TRY(drive_out_vector());
  MsrBuffer now;
  DVM_ASSIGN(const u32 read, get_msrs(&now.count, now.entries.data()));
  known_.assign(now.entries.begin(), now.entries.begin() + read);
  DVM_ASSIGN(known_offset_, vcpu_->tsc_offset());
  return {};
}

// Those that differ from what KVM has. One that it will not set, though it told of it, is left and
// said: a guest cannot have written it either.
Status VcpuTransfer::load_msrs(const VcpuState& state) {
  MsrBuffer some;
  for (u32 i = 0; i < state.msr_count; ++i) {
    const kvm_msr_entry& msr = state.msrs[i];
    if (!is_ours(msr.index) && !knows(i, msr)) some.entries[some.count++] = msr;
  }
  while (some.count != 0) {
    DVM_ASSIGN(const int answer, kvm_ioctl(vcpu_->fd(), KVM_SET_MSRS, "KVM_SET_MSRS", &some));
    const u32 set = static_cast<u32>(answer);
    if (set >= some.count) break;
    fmt::print(stderr, "dvm-node: vCPU {}: KVM refuses to set MSR {:#x} to {:#x}\n", state.vcpu,
               u32{some.entries[set].index}, u64{some.entries[set].data});
    std::copy(some.entries.begin() + set + 1, some.entries.begin() + some.count,
              some.entries.begin());
    some.count -= set + 1;
  }
  return {};
}

// Mostly the two lists are the same.
bool VcpuTransfer::knows(u32 place, const kvm_msr_entry& msr) const {
  const bool there = place < known_.size() && known_[place].index == msr.index;
  const auto has =
      there ? known_.begin() + place : std::ranges::find(known_, msr.index, &kvm_msr_entry::index);
  return has != known_.end() && has->data == msr.data;
}

Status VcpuTransfer::load(const VcpuState& state) {
  const Fd& fd = vcpu_->fd();
  kvm_sregs2 sregs = state.sregs;
  if (sregs2_ && (state.parts & kPartPdptrs) != 0) {
    DVM_TRY(vcpu_->set_sregs2(sregs));
  } else {
    kvm_sregs less{};
    std::memcpy(&less, &sregs, kCommonSregs);
    DVM_TRY(vcpu_->set_sregs(less));
  }
  DVM_TRY(vcpu_->set_regs(state.regs));
  kvm_xcrs xcrs = state.xcrs;
  if (xcrs_ && (state.parts & kPartXcrs) != 0)
    DVM_TRY(kvm_ioctl(fd, KVM_SET_XCRS, "KVM_SET_XCRS", &xcrs));
  if (xsave_ != ((state.parts & kPartXsave) != 0))
    return error("the state of vCPU {}: one host has XSAVE and the other has not", state.vcpu);
  void* const fpu = const_cast<u8*>(state.fpu.data());
  DVM_TRY(xsave_ ? kvm_ioctl(fd, KVM_SET_XSAVE, "KVM_SET_XSAVE", fpu)
                 : kvm_ioctl(fd, KVM_SET_FPU, "KVM_SET_FPU", fpu));
  kvm_debugregs debug = state.debug;
  DVM_TRY(kvm_ioctl(fd, KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &debug));
  DVM_TRY(load_msrs(state));
  if (state.tsc_offset != known_offset_) DVM_TRY(vcpu_->set_tsc_offset(state.tsc_offset));
  DVM_TRY(vcpu_->set_mp_state(state.mp_state));
  // After what may queue events itself.
  kvm_vcpu_events events = state.events;
  DVM_TRY(kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  if (state.vector != kNoWaitingVector)
    DVM_TRY(vcpu_->inject_interrupt(static_cast<u8>(state.vector)));
  vcpu_->run().ready_for_interrupt_injection = static_cast<u8>(state.ready);
  vcpu_->run().request_interrupt_window = 0;
  return {};
}

Status VcpuTransfer::restore(const VcpuState& state) {
  if (vcpu_->injection() == Injection::queued) return {};
  DVM_TRY(prepare());
  return load(state);
}

}  // namespace dvm::vmm
