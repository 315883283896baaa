// What a vCPU is told and asked beside its registers (kvm.h).
#include <sys/ioctl.h>

#include <cerrno>

#include "vmm/kvm/kvm.h"

namespace dvm::vmm {

Result<kvm_fpu> Vcpu::fpu() const {
  kvm_fpu f{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_FPU, "KVM_GET_FPU", &f));
  return f;
}

Status Vcpu::set_fpu(kvm_fpu fpu) {
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_FPU, "KVM_SET_FPU", &fpu));
  return {};
}

Status Vcpu::set_guest_debug(kvm_guest_debug debug) {
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_GUEST_DEBUG, "KVM_SET_GUEST_DEBUG", &debug));
  return {};
}

// Injected, not pending: the exit has left DR6 and RIP as delivery needs them.
Status Vcpu::inject_debug_exception(u8 vector) {
  kvm_vcpu_events events{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &events));
  events.exception.injected = 1;
  events.exception.nr = vector;
  events.exception.has_error_code = 0;
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  return {};
}

Status Vcpu::inject_double_fault() {
  kvm_vcpu_events events{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &events));
  events.exception.injected = 1;
  events.exception.nr = 8;  // #DF, whose error code is always 0 (Intel SDM vol. 3A §6.15)
  events.exception.has_error_code = 1;
  events.exception.error_code = 0;
  events.interrupt.injected = 0;
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  return {};
}

Result<bool> Vcpu::halted() const {
  if (injection_ == Injection::queued) return false;
  kvm_mp_state state{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_MP_STATE, "KVM_GET_MP_STATE", &state));
  return state.mp_state == KVM_MP_STATE_HALTED;
}

Status Vcpu::end_halt() {
  if (injection_ == Injection::queued) return {};
  kvm_mp_state state{KVM_MP_STATE_RUNNABLE};
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_MP_STATE, "KVM_SET_MP_STATE", &state));
  return {};
}

Result<u32> Vcpu::mp_state() const {
  if (injection_ == Injection::queued) return u32{KVM_MP_STATE_RUNNABLE};
  kvm_mp_state state{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_MP_STATE, "KVM_GET_MP_STATE", &state));
  return u32{state.mp_state};
}

Status Vcpu::set_mp_state(u32 value) {
  if (injection_ == Injection::queued) return {};
  kvm_mp_state state{value};
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_MP_STATE, "KVM_SET_MP_STATE", &state));
  return {};
}

Result<kvm_sregs2> Vcpu::sregs2() const {
  kvm_sregs2 s{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_SREGS2, "KVM_GET_SREGS2", &s));
  if (injection_ == Injection::external) s.apic_base = apic_base_;
  return s;
}

Status Vcpu::set_sregs2(kvm_sregs2 sregs) {
  apic_base_ = sregs.apic_base;
  sregs.apic_base = kvm_apic_base(sregs.apic_base);
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_SREGS2, "KVM_SET_SREGS2", &sregs));
  return {};
}

Result<u64> Vcpu::tsc_offset() const {
  u64 offset = 0;
  kvm_device_attr attr{};
  attr.group = KVM_VCPU_TSC_CTRL;
  attr.attr = KVM_VCPU_TSC_OFFSET;
  attr.addr = reinterpret_cast<u64>(&offset);
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_DEVICE_ATTR, "KVM_GET_DEVICE_ATTR (KVM_VCPU_TSC_OFFSET)", &attr));
  return offset;
}

Status Vcpu::follow_vectors() {
  if (injection_ != Injection::external) return {};
  if (!stats_.counts_injections())
    return error("epochs need a KVM that counts the interrupts it injects");
  follows_vectors_ = true;
  return {};
}

Result<std::optional<u8>> Vcpu::take_waiting_vector() {
  std::optional<u8> none;
  if (!given_) return none;
  if (follows_vectors_) {
    // When it was given KVM had no other on its way: the first one that it counts since is this.
    if (stats_.injections() != given_at_) given_.reset();
    return given_;
  }
  kvm_interrupt again{*given_};
  if (::ioctl(fd_.get(), KVM_INTERRUPT, &again) == 0) return none;
  if (errno != EEXIST) return sys_error("ioctl KVM_INTERRUPT");
  return given_;
}

bool Vcpu::give_again(u8 vector) {
  kvm_interrupt irq{vector};
  if (::ioctl(fd_.get(), KVM_INTERRUPT, &irq) < 0 && errno != EEXIST) return false;
  if (injection_ == Injection::external) given_ = vector;
  // It waits now, however far who gave it had come: what KVM has counted so far was of others.
  if (follows_vectors_) given_at_ = stats_.injections();
  return true;
}

Result<std::vector<u32>> Vm::readable_msrs(const Vcpu& vcpu) {
  if (!msrs_.empty()) return msrs_;
  struct {
    u32 count;
    std::array<u32, 1024> indices;
  } list{1024, {}};
  static_assert(offsetof(decltype(list), indices) == sizeof(kvm_msr_list));
  DVM_TRY(kvm_ioctl(kvm_, KVM_GET_MSR_INDEX_LIST, "KVM_GET_MSR_INDEX_LIST", &list));
  for (const u32 msr : std::span(list.indices).first(list.count)) {
    if (vcpu.msr(msr).ok()) msrs_.push_back(msr);
  }
  return msrs_;
}

}  // namespace dvm::vmm
