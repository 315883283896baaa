#include "tools/bench/device_class.h"

#include <algorithm>
#include <array>

#include "tools/bench/bench_words.h"

namespace dvm::tools {
namespace {

constexpr u64 kMicro = 1000, kMilli = 1'000'000;
constexpr u32 kMany = 64;

constexpr std::array<DeviceClass, 5> kClasses = {{
    {"none", 0, 0, kMany},
    {"nvme", 80 * kMicro, 3000, kMany},
    {"sata-ssd", 150 * kMicro, 500, 32},
    {"network-volume", 1 * kMilli, 125, 3},
    {"disk", 8 * kMilli, 190, 1},
}};

}  // namespace

std::span<const DeviceClass> device_classes() { return kClasses; }

std::string device_class_names() {
  std::string names;
  for (const auto& kind : kClasses) names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

Result<std::vector<DeviceClass>> parse_device_classes(const std::string& text) {
  std::vector<DeviceClass> kinds;
  for (const std::string& name : split_list(text)) {
    const auto named = [&](const DeviceClass& kind) { return name == kind.name; };
    const auto known = std::ranges::find_if(kClasses, named);
    if (known == kClasses.end())
      return usage_error("found '{}'; allowed: {}", name, device_class_names());
    if (std::ranges::any_of(kinds, named))
      return usage_error("found {} twice; allowed: each once", name);
    kinds.push_back(*known);
  }
  return kinds;
}

double seconds_of_reads(const DeviceClass& kind, double requests, double mebibytes) {
  const double latency = requests * static_cast<double>(kind.latency_ns) / 1e9;
  return kind.mib_per_second == 0 ? latency : latency + mebibytes / kind.mib_per_second;
}

}  // namespace dvm::tools
