// The clock that KVM offers its guests (Linux Documentation/virt/kvm/x86/msr.rst,
// MSR_KVM_SYSTEM_TIME_NEW), given by us: the in-kernel one belongs to one KVM VM, and a guest has
// one on each node. Here the guest's TSC is the same on every node and never stops, so the record
// that a vCPU is given is the same for all, and is written once.
//
// A kernel learns the TSC's frequency from it, which on AMD it else has to measure.
#pragma once

#include <cstddef>
#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr u32 kMsrKvmWallClock = 0x4b56'4d00;
inline constexpr u32 kMsrKvmSystemTime = 0x4b56'4d01;

// A vCPU's MSRs, as last written.
struct KvmClockState {
  u64 system_time = 0;  // guest address of a PvclockTime | 1 when enabled
  u64 wall_clock = 0;   // guest address of a PvclockWall
};

// struct pvclock_vcpu_time_info: ns = system_time + ((tsc - tsc_timestamp) << tsc_shift) *
// tsc_to_system_mul / 2^32. An odd version: being written.
struct PvclockTime {
  u32 version = 2;
  u32 reserved = 0;
  u64 tsc_timestamp = 0;
  u64 system_time = 0;
  u32 tsc_to_system_mul = 0;
  i8 tsc_shift = 0;
  u8 flags = 1;  // PVCLOCK_TSC_STABLE_BIT: alike on all vCPUs
  u8 padding[2] = {};
};
static_assert(sizeof(PvclockTime) == 32 && offsetof(PvclockTime, tsc_to_system_mul) == 24 &&
              offsetof(PvclockTime, tsc_shift) == 28);

// struct pvclock_wall_clock: UTC when the system time was 0.
struct PvclockWall {
  u32 version = 2;
  u32 seconds = 0;
  u32 nanoseconds = 0;
};
static_assert(sizeof(PvclockWall) == 12);

// The system time is 0 when the TSC is. `tsc_khz` is not 0.
PvclockTime pvclock_time(u64 tsc_khz);
// `wall_ns`: now, ns since 1970; `system_ns`: now, by the clock above.
PvclockWall pvclock_wall(u64 wall_ns, u64 system_ns);

// Where the record that is asked for goes; nothing: none is.
constexpr std::optional<u64> system_time_address(u64 msr) {
  return (msr & 1) != 0 ? std::optional(msr & ~1ull) : std::nullopt;
}

}  // namespace dvm::vmm
