// Named CPU models: the microarchitecture levels of the x86-64 psABI, so that a guest sees the same
// features on every host that has them. (x86-64 psABI, "Micro-Architecture Levels".)
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

// As recorded in the pool.
enum class CpuLevel : u32 { host, v1, v2, v3 };
inline constexpr u32 kCpuLevels = 4;

std::string_view cpu_level_name(CpuLevel level);         // "host", "x86-64-v2"
std::string_view cpu_level_description(CpuLevel level);  // one line, for people
std::optional<CpuLevel> cpu_level_named(std::string_view name);

// What of a level's features a host that offers `supported` lacks, by their names in Linux's
// /proc/cpuinfo. Pure.
std::vector<std::string_view> features_lacking(std::span<const kvm_cpuid_entry2> supported,
                                               CpuLevel level);
Status check_cpu_level(std::span<const kvm_cpuid_entry2> supported, CpuLevel level);

// `supported` with no feature left above the level's, and no leaf that could tell of one. What
// every 64-bit OS counts on (paging, MTRRs, and so on) stays. The vendor, family and model stay the
// host's. Pure; `host` changes nothing.
std::vector<kvm_cpuid_entry2> limit_to_level(std::span<const kvm_cpuid_entry2> supported,
                                             CpuLevel level);

}  // namespace dvm::vmm
