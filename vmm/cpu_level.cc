#include "vmm/cpu_level.h"

#include <algorithm>
#include <array>

namespace dvm::vmm {
namespace {

enum class Register : u8 { eax, ebx, ecx, edx };

struct Feature {
  std::string_view name;  // Linux's
  CpuLevel since;
  u32 function;
  Register in;
  u32 bit;
};

using enum Register;
using enum CpuLevel;
// Intel SDM vol. 2A, CPUID; AMD APM vol. 3 appendix E. OSXSAVE mirrors CR4: XSAVE stands for it.
constexpr std::array<Feature, 24> kFeatures = {{
    {"fpu", v1, 1, edx, 0},
    {"cx8", v1, 1, edx, 8},
    {"cmov", v1, 1, edx, 15},
    {"mmx", v1, 1, edx, 23},
    {"fxsr", v1, 1, edx, 24},
    {"sse", v1, 1, edx, 25},
    {"sse2", v1, 1, edx, 26},
    {"syscall", v1, 0x8000'0001, edx, 11},
    {"pni", v2, 1, ecx, 0},
    {"ssse3", v2, 1, ecx, 9},
    {"cx16", v2, 1, ecx, 13},
    {"sse4_1", v2, 1, ecx, 19},
    {"sse4_2", v2, 1, ecx, 20},
    {"popcnt", v2, 1, ecx, 23},
    {"lahf_lm", v2, 0x8000'0001, ecx, 0},
    {"fma", v3, 1, ecx, 12},
    {"movbe", v3, 1, ecx, 22},
    {"xsave", v3, 1, ecx, 26},
    {"avx", v3, 1, ecx, 28},
    {"f16c", v3, 1, ecx, 29},
    {"bmi1", v3, 7, ebx, 3},
    {"avx2", v3, 7, ebx, 5},
    {"bmi2", v3, 7, ebx, 8},
    {"abm", v3, 0x8000'0001, ecx, 5},
}};

// Not of a level, but what every 64-bit OS counts on: VME DE PSE TSC MSR PAE MCE APIC SEP MTRR PGE
// MCA PAT PSE36 CLFLUSH HTT.
constexpr u32 kSystemEdx1 = 0x100b'7afeu;
constexpr u32 kSystemEcx1 = (1u << 21) | (1u << 24) | (1u << 31);  // x2APIC, TSC deadline, guest
// AMD's copies of leaf 1 (0-9, 12-17, 23, 24), SYSCALL, NX, long mode.
constexpr u32 kSystemEdx80000001 = 0x2193'fbffu;
constexpr u32 kXcr0Avx = 7, kXsaveAvxBytes = 832;  // x87, SSE and AVX: 512 + 64 + 256

u32 value_of(const kvm_cpuid_entry2& e, Register in) {
  switch (in) {
    case eax: return e.eax;
    case ebx: return e.ebx;
    case ecx: return e.ecx;
    case edx: return e.edx;
  }
  return 0;
}

u32 level_bits(CpuLevel level, u32 function, Register in) {
  u32 bits = 0;
  for (const Feature& f : kFeatures) {
    if (f.since <= level && f.function == function && f.in == in) bits |= 1u << f.bit;
  }
  return bits;
}

// Identity, caches, address widths and what dvm shapes itself; any other leaf tells of features.
bool leaf_stays(const kvm_cpuid_entry2& e, CpuLevel level) {
  switch (e.function) {
    case 0x0:
    case 0x1:
    case 0x2:
    case 0x4:
    case 0x6:
    case 0x8000'0000:
    case 0x8000'0001:
    case 0x8000'0002:
    case 0x8000'0003:
    case 0x8000'0004:
    case 0x8000'0005:
    case 0x8000'0006:
    case 0x8000'0007:
    case 0x8000'0008:
    case 0x8000'001d:
    case 0x8000'001e: return true;
    case 0x7: return e.index == 0;
    case 0xd: return level >= v3 && (e.index <= 2);
    default: return false;
  }
}

void limit(kvm_cpuid_entry2& e, CpuLevel level) {
  switch (e.function) {
    case 0x1:
      e.ecx &= level_bits(level, 1, ecx) | kSystemEcx1;
      e.edx &= level_bits(level, 1, edx) | kSystemEdx1;
      break;
    case 0x7:
      e.eax = e.ecx = e.edx = 0;
      e.ebx &= level_bits(level, 7, ebx);
      break;
    case 0xd:
      if (e.index == 0) {
        e.eax &= kXcr0Avx;
        e.ebx = e.ecx = kXsaveAvxBytes;
        e.edx = 0;
      } else if (e.index == 1) {
        e.eax = e.ebx = e.ecx = e.edx = 0;
      }
      break;
    case 0x8000'0001:
      e.ecx &= level_bits(level, 0x8000'0001, ecx);
      e.edx &= level_bits(level, 0x8000'0001, edx) | kSystemEdx80000001;
      break;
    case 0x8000'0007: e.eax = e.ebx = e.ecx = e.edx = 0; break;  // invariant TSC is dvm's to add
    case 0x8000'0008: e.ebx = 0; break;
    default: break;
  }
}

constexpr std::array<std::string_view, kCpuLevels> kNames = {"host", "x86-64-v1", "x86-64-v2",
                                                             "x86-64-v3"};
constexpr std::array<std::string_view, kCpuLevels> kDescriptions = {
    "what this host's KVM offers", "SSE2 (any 64-bit CPU)",
    "v1 and CMPXCHG16B, LAHF/SAHF, POPCNT, SSE3, SSSE3, SSE4.1, SSE4.2 (since about 2009)",
    "v2 and AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE, XSAVE (since about 2015)"};

}  // namespace

std::string_view cpu_level_name(CpuLevel level) { return kNames.at(static_cast<u32>(level)); }

std::string_view cpu_level_description(CpuLevel level) {
  return kDescriptions.at(static_cast<u32>(level));
}

std::optional<CpuLevel> cpu_level_named(std::string_view name) {
  const auto at = std::find(kNames.begin(), kNames.end(), name);
  if (at == kNames.end()) return std::nullopt;
  return static_cast<CpuLevel>(at - kNames.begin());
}

std::vector<std::string_view> features_lacking(std::span<const kvm_cpuid_entry2> supported,
                                               CpuLevel level) {
  std::vector<std::string_view> lacking;
  for (const Feature& f : kFeatures) {
    if (level == host || f.since > level) continue;
    const auto at = std::find_if(supported.begin(), supported.end(), [&](const auto& e) {
      return e.function == f.function && e.index == 0;
    });
    if (at == supported.end() || (value_of(*at, f.in) & (1u << f.bit)) == 0)
      lacking.push_back(f.name);
  }
  return lacking;
}

Status check_cpu_level(std::span<const kvm_cpuid_entry2> supported, CpuLevel level) {
  const auto lacking = features_lacking(supported, level);
  if (lacking.empty()) return {};
  return error("this host's KVM lacks what CPU model {} needs: {}", cpu_level_name(level),
               fmt::join(lacking, ", "));
}

std::vector<kvm_cpuid_entry2> limit_to_level(std::span<const kvm_cpuid_entry2> supported,
                                             CpuLevel level) {
  std::vector<kvm_cpuid_entry2> limited;
  for (const kvm_cpuid_entry2& e : supported) {
    if (level != host && !leaf_stays(e, level)) continue;
    limited.push_back(e);
    if (level != host) limit(limited.back(), level);
  }
  return limited;
}

}  // namespace dvm::vmm
