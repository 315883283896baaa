// Health readings of the nodes' hosts, in the pool. Today they come from fault injection; whoever
// reads sensors writes them in the same way.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string_view>

#include "fabric/instance.h"

namespace dvm::fabric {

enum class HealthReading : u32 { temperature, corrected_errors, uncorrected_errors, wear };
inline constexpr u32 kHealthReadings = 4;

// "corrected-errors"; and back. Units: degrees Celsius; memory errors since power-on; percent.
std::string_view reading_name(HealthReading reading);
std::optional<HealthReading> reading_by_name(std::string_view name);

// Each value is one store; `time_ns` (CLOCK_MONOTONIC) after it, 0: never read.
struct HealthRecord {
  std::array<std::atomic<u64>, kHealthReadings> value;
  std::array<std::atomic<u64>, kHealthReadings> time_ns;
};
static_assert(sizeof(HealthRecord) == 64);

// By stable id. All zero is a valid start. Threads: any.
struct HealthTable {
  std::array<HealthRecord, kMaxInstances> records;
};
static_assert(sizeof(HealthTable) == 64 * kMaxInstances);
inline constexpr u32 kHealthVersion = 1;

// Preconditions: `id` and `reading` are in range.
void record_health(HealthTable& table, u32 id, HealthReading reading, u64 value);
std::optional<u64> health_of(const HealthTable& table, u32 id, HealthReading reading);

}  // namespace dvm::fabric
