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

static_assert(sizeof(kvm_msr_list) == 4, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
static_assert(sizeof(kvm_msrs) == 8, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
static_assert(sizeof(kvm_cpuid2) == 8, "include vmm/kvm/kvm_api.h, never <linux/kvm.h>");
