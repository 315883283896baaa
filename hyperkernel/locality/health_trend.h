// Whether a node is about to fail, from readings of its health: what can be seen to go towards what
// the node cannot bear is taken as sure to get there.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "fabric/health.h"

namespace dvm::locality {

using fabric::HealthReading;

struct HealthSample {
  u64 time_ns = 0;
  u64 value = 0;
};

// A reading's limit, and how steadily it has to go there before that is believed.
struct HealthRule {
  double limit = 0;       // what a node does not bear
  u32 least_samples = 3;  // of a trend; 1: a value at the limit is enough by itself
};
inline constexpr std::array<HealthRule, fabric::kHealthReadings> kHealthRules = {{
    {95, 3},      // temperature, degrees Celsius: where servers throttle, and then switch off
    {10'000, 3},  // corrected errors: memory that gives so many gives uncorrected ones soon
    {1, 1},       // uncorrected errors: the next may be where nothing can be done
    {100, 3},     // wear, percent
}};
// A node that would get there within this time is left now.
inline constexpr u64 kFailureHorizonNs = 60'000'000'000;

struct HealthVerdict {
  HealthReading reading = HealthReading::temperature;
  u64 value = 0;
  u64 left_ns = 0;  // until the limit; 0: it is there
  u32 samples = 0;
};

// One node's readings. Threads: one at a time.
class HealthTrend {
 public:
  static constexpr std::size_t kKept = 16;
  void add(HealthReading reading, HealthSample sample);
  // The most urgent; none: all is well.
  std::optional<HealthVerdict> verdict() const;

 private:
  std::array<std::vector<HealthSample>, fabric::kHealthReadings> samples_;
};

// Time until a straight line through the samples (least squares) is at `limit`, from the last one
// on; none: it goes elsewhere.
std::optional<double> time_to_limit_ns(const std::vector<HealthSample>& samples, double limit);

}  // namespace dvm::locality
