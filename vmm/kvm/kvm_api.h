// The one way to <linux/kvm.h>. Debian's flexible-array macro wraps each such array in a struct
// with an empty member, which takes a byte in C++: sizes change, and with them the ioctl numbers
// (EINVAL). The kernel's own C++ form of the macro (linux/stddef.h, Linux 6.7) is a zero-length
// array, as here.
#pragma once
#pragma GCC system_header  // zero-length arrays are not ISO C++

#include <linux/stddef.h>

#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]

#include <linux/kvm.h>

// Linux 6.11, newer than Debian 12's headers.
#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
struct kvm_pre_fault_memory {
  __u64 gpa;
  __u64 size;
  __u64 flags;
  __u64 padding[5];
};
#endif
static_assert(sizeof(kvm_pre_fault_memory) == 64);

static_assert(sizeof(kvm_msr_list) == 4, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
static_assert(sizeof(kvm_msrs) == 8, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
static_assert(sizeof(kvm_cpuid2) == 8, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
