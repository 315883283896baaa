#include "vmm/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>

namespace dvm::vmm {
namespace {

// Intel SDM vol. 2A, CPUID; AMD APM vol. 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
constexpr u32 kEcx1Monitor = 1u << 3, kEcx1Vmx = 1u << 5, kEcx1X2Apic = 1u << 21,
              kEcx1TscDeadline = 1u << 24, kEcx1Osxsave = 1u << 27, kEcx1Hypervisor = 1u << 31;
constexpr u32 kEdx1Apic = 1u << 9, kEdx1Htt = 1u << 28;
constexpr u32 kEax6Arat = 1u << 2;
constexpr u32 kEcx80000001Svm = 1u << 2, kEcx80000001ExtApic = 1u << 3,
              kEcx80000001TopoExt = 1u << 22;
constexpr u32 kEdx80000001Apic = 1u << 9;
constexpr u32 kEdx80000007InvariantTsc = 1u << 8;
constexpr u32 kKvmSignature = 0x4000'0000, kKvmFeatures = 0x4000'0001;
constexpr u32 kKvmNoIoDelay = 1u << 1, kKvmClock = 1u << 3, kKvmPvEoi = 1u << 6,
              kKvmClockStable = 1u << 24;
constexpr u32 kHypervisorFirst = 0x4000'0000, kHypervisorLast = 0x4fff'ffff;

bool wanted(const kvm_cpuid_entry2& e) {
  // Extended topology is rebuilt; Hyper-V, SGX, PT and SVM leaves are not offered.
  if (e.function >= kHypervisorFirst && e.function <= kHypervisorLast) return false;
  return e.function != 0xb && e.function != 0x1f && e.function != 0x12 && e.function != 0x14 &&
         e.function != 0x15 && e.function != 0x16 && e.function != 0x8000'000a;
}

void shape_leaf_1(kvm_cpuid_entry2& e, u32 vcpus) {
  e.ecx |= kEcx1X2Apic | kEcx1TscDeadline | kEcx1Hypervisor;
  e.ecx &= ~(kEcx1Monitor | kEcx1Vmx | kEcx1Osxsave);  // OSXSAVE mirrors CR4: KVM's to set
  e.edx |= kEdx1Apic | (vcpus > 1 ? kEdx1Htt : 0);
  e.ebx = (e.ebx & 0x0000'ffffu) | (std::min(vcpus, 255u) << 16);
}

// Caches private to each core up to level 2, level 3 for all; cores in the package.
void shape_leaf_4(kvm_cpuid_entry2& e, u32 vcpus) {
  if ((e.eax & 0x1f) == 0) return;
  const u32 level = (e.eax >> 5) & 7;
  const u32 sharing = level >= 3 ? std::bit_ceil(vcpus) - 1 : 0;
  const u32 cores = std::min(std::bit_ceil(vcpus) - 1, 63u);
  e.eax = (e.eax & 0x3fff) | (std::min(sharing, 4095u) << 14) | (cores << 26);
}

void shape(kvm_cpuid_entry2& e, u32 vcpus) {
  switch (e.function) {
    case 0x1: shape_leaf_1(e, vcpus); break;
    case 0x4: shape_leaf_4(e, vcpus); break;
    case 0x6:
      e.eax = kEax6Arat;
      e.ebx = e.ecx = e.edx = 0;
      break;
    case 0xa: e.eax = e.ebx = e.ecx = e.edx = 0; break;  // no PMU: its counters live in one host
    case 0x8000'0001:
      e.ecx &= ~(kEcx80000001Svm | kEcx80000001ExtApic | kEcx80000001TopoExt);
      // AMD has copies of leaf 1's bits here, the first of them FPU; Intel has none.
      if ((e.edx & 1) != 0) e.edx |= kEdx80000001Apic;
      break;
    case 0x8000'0007: e.edx |= kEdx80000007InvariantTsc; break;
    // NC: cores in the package less one; ApicIdCoreIdSize.
    case 0x8000'0008:
      e.ecx = (vcpus - 1) | (static_cast<u32>(std::bit_width(vcpus - 1)) << 12);
      break;
    case 0x8000'001e: e.eax = e.ebx = e.ecx = e.edx = 0; break;
    default: break;
  }
}

// What needs XSAVE's state components, or an XCR0 that lets it: no CPU has it without XSAVE (Intel
// SDM vol. 1 §13.3), and a kernel that finds it uses it.
struct XsaveFeatures {
  u32 function, index, eax, ebx, ecx, edx;
};
constexpr std::array<XsaveFeatures, 5> kNeedXsave = {{
    {0x1, 0, 0, 0, 1u << 12 | 1u << 28 | 1u << 29, 0},  // FMA, AVX, F16C
    // AVX2, MPX, AVX-512; PKU, VAES, VPCLMULQDQ; AMX
    {0x7, 0, 0,
     1u << 5 | 1u << 14 | 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 |
         1u << 30 | 1u << 31,
     1u << 1 | 1u << 3 | 1u << 6 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 14,
     1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25},
    {0x7, 1, 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23, 0, 0, ~0u},  // AVX-VNNI and later
    {0x8000'0001, 0, 0, 0, 1u << 11 | 1u << 15 | 1u << 16, 0},     // XOP, LWP, FMA4
    {0xd, 0, ~0u, ~0u, ~0u, ~0u},
}};

void drop_what_needs_xsave(std::vector<kvm_cpuid_entry2>& model) {
  constexpr u32 kEcx1Xsave = 1u << 26;
  const bool has = std::ranges::any_of(model, [](const kvm_cpuid_entry2& e) {
    return e.function == 0x1 && (e.ecx & kEcx1Xsave) != 0;
  });
  if (has) return;
  std::erase_if(model, [](const kvm_cpuid_entry2& e) { return e.function == 0xd && e.index != 0; });
  for (kvm_cpuid_entry2& e : model) {
    for (const XsaveFeatures& f : kNeedXsave) {
      if (e.function != f.function || e.index != f.index) continue;
      e.eax &= ~f.eax;
      e.ebx &= ~f.ebx;
      e.ecx &= ~f.ecx;
      e.edx &= ~f.edx;
    }
  }
}

kvm_cpuid_entry2 leaf(u32 function, u32 index, u32 eax, u32 ebx, u32 ecx, u32 edx) {
  kvm_cpuid_entry2 e{};
  e.function = function;
  e.index = index;
  e.flags = index != 0 || function == 0xb || function == 0x1f ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
  e.eax = eax;
  e.ebx = ebx;
  e.ecx = ecx;
  e.edx = edx;
  return e;
}

// Leaf 0xb: level 0 threads (one a core), level 1 cores. EDX, the x2APIC id, is each vCPU's own.
void add_topology(std::vector<kvm_cpuid_entry2>& model, u32 vcpus) {
  const u32 core_bits = static_cast<u32>(std::bit_width(vcpus - 1));
  model.push_back(leaf(0xb, 0, 0, 1, (1u << 8) | 0, 0));
  model.push_back(leaf(0xb, 1, core_bits, vcpus, (2u << 8) | 1, 0));
  model.push_back(leaf(0xb, 2, 0, 0, 2, 0));
}

void add_hypervisor_leaves(std::vector<kvm_cpuid_entry2>& model, u64 tsc_khz) {
  // "KVMKVMKVM\0\0\0" as EBX, ECX, EDX.
  model.push_back(leaf(kKvmSignature, 0, 0x4000'0010, 0x4b4d'564b, 0x564b'4d56, 0x4d));
  model.push_back(
      leaf(kKvmFeatures, 0, kKvmNoIoDelay | kKvmClock | kKvmPvEoi | kKvmClockStable, 0, 0, 0));
  // Timing leaf of VMware's and others' convention: TSC and APIC bus frequency in kHz.
  model.push_back(leaf(0x4000'0010, 0, static_cast<u32>(tsc_khz), 1'000'000, 0, 0));
}

// The registers of a leaf that hold feature bits the host must offer. Others are identity or size.
struct FeatureLeaf {
  u32 function, index, eax, ebx, ecx, edx;
};
constexpr u32 kAll = ~0u;
constexpr std::array<FeatureLeaf, 5> kFeatureLeaves = {{
    // Bits that dvm sets itself, whatever the host has, are not asked of it.
    {0x1, 0, 0, 0, kAll & ~(kEcx1X2Apic | kEcx1TscDeadline | kEcx1Hypervisor | kEcx1Osxsave),
     kAll & ~kEdx1Htt},
    {0x7, 0, 0, kAll, kAll, kAll},
    {0xd, 1, kAll, 0, 0, 0},
    {0x8000'0001, 0, 0, 0, kAll, kAll & ~kEdx80000001Apic},
    {0x8000'0008, 0, 0, kAll, 0, 0},
}};

const kvm_cpuid_entry2* find(std::span<const kvm_cpuid_entry2> entries, u32 function, u32 index) {
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& e) {
    return e.function == function && e.index == index;
  });
  return at == entries.end() ? nullptr : &*at;
}

}  // namespace

std::vector<kvm_cpuid_entry2> make_cpu_model(std::span<const kvm_cpuid_entry2> supported, u32 vcpus,
                                             u64 tsc_khz) {
  std::vector<kvm_cpuid_entry2> model;
  for (const kvm_cpuid_entry2& e : supported) {
    if (!wanted(e)) continue;
    model.push_back(e);
    shape(model.back(), vcpus);
  }
  drop_what_needs_xsave(model);
  add_topology(model, vcpus);
  add_hypervisor_leaves(model, tsc_khz);
  return model;
}

std::vector<kvm_cpuid_entry2> cpuid_for_vcpu(std::span<const kvm_cpuid_entry2> model, u32 id) {
  std::vector<kvm_cpuid_entry2> mine(model.begin(), model.end());
  for (kvm_cpuid_entry2& e : mine) {
    if (e.function == 0x1) e.ebx = (e.ebx & 0x00ff'ffffu) | (id << 24);
    if (e.function == 0xb || e.function == 0x1f) e.edx = id;
    if (e.function == 0x8000'001e) {
      e.eax = id;
      e.ebx = id & 0xff;
    }
  }
  return mine;
}

Status check_cpu_offers(std::span<const kvm_cpuid_entry2> supported,
                        std::span<const kvm_cpuid_entry2> model) {
  for (const FeatureLeaf& f : kFeatureLeaves) {
    const kvm_cpuid_entry2* want = find(model, f.function, f.index);
    if (want == nullptr) continue;
    static constexpr kvm_cpuid_entry2 kNone{};
    const kvm_cpuid_entry2* have = find(supported, f.function, f.index);
    if (have == nullptr) have = &kNone;
    const u32 a = want->eax & ~have->eax & f.eax, b = want->ebx & ~have->ebx & f.ebx;
    const u32 c = want->ecx & ~have->ecx & f.ecx, d = want->edx & ~have->edx & f.edx;
    if ((a | b | c | d) != 0) {
      return error(
          "this host's CPU lacks features of the guest's: CPUID leaf {:#x}.{}, missing eax {:#x} "
          "ebx {:#x} "
          "ecx {:#x} edx {:#x}",
          f.function, f.index, a, b, c, d);
    }
  }
  return {};
}

}  // namespace dvm::vmm
