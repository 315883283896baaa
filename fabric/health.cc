#include "fabric/health.h"

#include "fabric/doorbell.h"

namespace dvm::fabric {
namespace {

constexpr std::array<std::string_view, kHealthReadings> kNames = {"temperature", "corrected-errors",
                                                                  "uncorrected-errors", "wear"};

}  // namespace

std::string_view reading_name(HealthReading reading) {
  const auto index = static_cast<std::size_t>(reading);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::optional<HealthReading> reading_by_name(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<HealthReading>(i);
  }
  return std::nullopt;
}

void record_health(HealthTable& table, u32 id, HealthReading reading, u64 value) {
  const auto index = static_cast<std::size_t>(reading);
  table.records[id].value[index].store(value, std::memory_order_relaxed);
  table.records[id].time_ns[index].store(monotonic_ns(), std::memory_order_release);
}

std::optional<u64> health_of(const HealthTable& table, u32 id, HealthReading reading) {
  const auto index = static_cast<std::size_t>(reading);
  if (table.records[id].time_ns[index].load(std::memory_order_acquire) == 0) return std::nullopt;
  return table.records[id].value[index].load(std::memory_order_relaxed);
}

}  // namespace dvm::fabric
