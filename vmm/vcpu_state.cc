#include "vmm/vcpu_state.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "fabric/crc32c.h"

namespace dvm::vmm {
namespace {

constexpr u32 kChecked = offsetof(VcpuState, checksum) + sizeof(u32);  // from here on

constexpr u32 kTail = offsetof(VcpuState, msr_count);

// As much of `fpu` as KVM writes and reads: most of it on a CPU with XSAVE, little on others.
u32 end_of_fpu(const VcpuState& state) {
  const bool xsave = (state.parts & kPartXsave) != 0;
  return static_cast<u32>(offsetof(VcpuState, fpu) + (xsave ? kFpuBytes : sizeof(kvm_fpu)));
}

u32 checksum_of(const VcpuState& state, u32 bytes) {
  const auto all = std::as_bytes(std::span(&state, 1));
  const u32 head = fabric::crc32c(all.subspan(kChecked, end_of_fpu(state) - kChecked));
  return fabric::crc32c(all.subspan(kTail, bytes - kTail), head);
}

u32 bytes_of(u32 msrs) {
  return static_cast<u32>(offsetof(VcpuState, msrs) + msrs * sizeof(kvm_msr_entry));
}

}  // namespace

void seal_vcpu_state(VcpuState& state, u32 vcpu) {
  state.version = kVcpuStateVersion;
  state.vcpu = vcpu;
  state.bytes = bytes_of(std::min(state.msr_count, kMaxStateMsrs));
  state.checksum = checksum_of(state, state.bytes);
}

void copy_meaningful(const VcpuState& pooled, VcpuState& copy) {
  const auto part = [&](u32 from, u32 end) {
    std::memcpy(reinterpret_cast<std::byte*>(&copy) + from,
                reinterpret_cast<const std::byte*>(&pooled) + from, end - from);
  };
  part(0, offsetof(VcpuState, fpu));
  part(offsetof(VcpuState, fpu), end_of_fpu(copy));
  part(kTail, offsetof(VcpuState, msrs));
  part(offsetof(VcpuState, msrs), bytes_of(std::min(copy.msr_count, kMaxStateMsrs)));
}

Status check_vcpu_state(const VcpuState& state, u32 vcpu, u32 injection) {
  if (state.version != kVcpuStateVersion)
    return error("the state of vCPU {}: version {}, allowed: {}", vcpu, state.version,
                 kVcpuStateVersion);
  if (state.msr_count > kMaxStateMsrs || state.bytes != bytes_of(state.msr_count))
    return error("the state of vCPU {}: {} bytes with {} MSRs", vcpu, state.bytes, state.msr_count);
  if (const u32 sum = checksum_of(state, state.bytes); state.checksum != sum)
    return error("the state of vCPU {}: checksum {:#010x}, computed {:#010x}", vcpu, state.checksum,
                 sum);
  if (state.vcpu != vcpu) return error("the state of vCPU {}: it is vCPU {}'s", vcpu, state.vcpu);
  if (state.injection != injection)
    return error("the state of vCPU {}: injection {} where it comes from, {} here", vcpu,
                 state.injection, injection);
  if (state.vector > kNoWaitingVector)
    return error("the state of vCPU {}: vector {}", vcpu, state.vector);
  return {};
}

}  // namespace dvm::vmm
