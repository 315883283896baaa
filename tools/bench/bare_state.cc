#include "tools/bench/bare_state.h"

#include <algorithm>
#include <vector>

#include "fabric/doorbell.h"
#include "vmm/cpuid.h"

namespace dvm::tools {
namespace {

double us_since(u64 from_ns) {
  return static_cast<double>(fabric::monotonic_ns() - from_ns) / 1000;
}

}  // namespace

Result<BareState> BareState::make(const vmm::CpuBaseline& cpu) {
  DVM_ASSIGN(vmm::Vm vm, vmm::Vm::create());
  DVM_ASSIGN(vmm::Vcpu vcpu, vm.create_vcpu(0));
  const u32 count = std::min(cpu.count.load(), vmm::CpuBaseline::kMaxEntries);
  DVM_TRY(vcpu.set_cpuid(vmm::cpuid_for_vcpu({cpu.entries.data(), count}, 0)));
  return BareState(std::move(vm), std::move(vcpu));
}

Result<BareTimes> BareState::measure(vmm::VcpuState& state) {
  DVM_TRY(vmm::check_vcpu_state(state, 0, static_cast<u32>(vcpu_.injection())));
  BareTimes times;
  u64 from = fabric::monotonic_ns();
  DVM_TRY(set(state));
  times.set_us = us_since(from);
  from = fabric::monotonic_ns();
  DVM_TRY(get(state));
  times.get_us = us_since(from);
  return times;
}

Status BareState::call(unsigned long request, const char* name, void* argument) {
  DVM_TRY(vmm::kvm_ioctl(vcpu_.fd(), request, name, argument));
  return {};
}

Status BareState::set(vmm::VcpuState& state) {
  const bool xsave = (state.parts & vmm::kPartXsave) != 0;
  if ((state.parts & vmm::kPartPdptrs) != 0) {
    DVM_TRY(vcpu_.set_sregs2(state.sregs));
  } else {
    kvm_sregs less{};
    std::copy_n(reinterpret_cast<const u8*>(&state.sregs), offsetof(kvm_sregs, interrupt_bitmap),
                reinterpret_cast<u8*>(&less));
    DVM_TRY(vcpu_.set_sregs(less));
  }
  DVM_TRY(vcpu_.set_regs(state.regs));
  if ((state.parts & vmm::kPartXcrs) != 0) DVM_TRY(call(KVM_SET_XCRS, "KVM_SET_XCRS", &state.xcrs));
  DVM_TRY(xsave ? call(KVM_SET_XSAVE, "KVM_SET_XSAVE", state.fpu.data())
                : call(KVM_SET_FPU, "KVM_SET_FPU", state.fpu.data()));
  DVM_TRY(call(KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &state.debug));
  DVM_ASSIGN(const int msrs,
             vmm::kvm_ioctl(vcpu_.fd(), KVM_SET_MSRS, "KVM_SET_MSRS", &state.msr_count));
  if (static_cast<u32>(msrs) != state.msr_count)
    return error("KVM sets {} of {} MSRs", msrs, u32{state.msr_count});
  DVM_TRY(vcpu_.set_tsc_offset(state.tsc_offset));
  DVM_TRY(vcpu_.set_mp_state(state.mp_state));
  return call(KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &state.events);
}

Status BareState::get(vmm::VcpuState& state) {
  DVM_ASSIGN(state.mp_state, vcpu_.mp_state());
  DVM_ASSIGN(state.regs, vcpu_.regs());
  if ((state.parts & vmm::kPartPdptrs) != 0) {
    DVM_ASSIGN(state.sregs, vcpu_.sregs2());
  } else {
    DVM_TRY(vcpu_.sregs());
  }
  DVM_TRY((state.parts & vmm::kPartXsave) != 0
              ? call(KVM_GET_XSAVE, "KVM_GET_XSAVE", state.fpu.data())
              : call(KVM_GET_FPU, "KVM_GET_FPU", state.fpu.data()));
  if ((state.parts & vmm::kPartXcrs) != 0) DVM_TRY(call(KVM_GET_XCRS, "KVM_GET_XCRS", &state.xcrs));
  DVM_TRY(call(KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", &state.debug));
  DVM_TRY(call(KVM_GET_MSRS, "KVM_GET_MSRS", &state.msr_count));
  DVM_ASSIGN(state.tsc_offset, vcpu_.tsc_offset());
  return call(KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &state.events);
}

}  // namespace dvm::tools
