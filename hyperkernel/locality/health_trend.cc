#include "hyperkernel/locality/health_trend.h"

#include <algorithm>

namespace dvm::locality {

void HealthTrend::add(HealthReading reading, HealthSample sample) {
  auto& kept = samples_[static_cast<std::size_t>(reading)];
  if (!kept.empty() && sample.time_ns <= kept.back().time_ns) return;
  if (kept.size() == kKept) kept.erase(kept.begin());
  kept.push_back(sample);
}

std::optional<double> time_to_limit_ns(const std::vector<HealthSample>& samples, double limit) {
  if (samples.size() < 2) return std::nullopt;
  const double n = static_cast<double>(samples.size());
  const u64 last = samples.back().time_ns;
  double t_mean = 0, v_mean = 0;
  for (const HealthSample& s : samples) {
    t_mean -= static_cast<double>(last - s.time_ns) / n;
    v_mean += static_cast<double>(s.value) / n;
  }
  double covariance = 0, variance = 0;
  for (const HealthSample& s : samples) {
    const double t = -static_cast<double>(last - s.time_ns) - t_mean;
    covariance += t * (static_cast<double>(s.value) - v_mean);
    variance += t * t;
  }
  if (variance <= 0 || covariance <= 0) return std::nullopt;
  const double slope = covariance / variance;
  const double now = v_mean - t_mean * slope;
  return std::max(0.0, (limit - now) / slope);
}

std::optional<HealthVerdict> HealthTrend::verdict() const {
  std::optional<HealthVerdict> worst;
  for (std::size_t r = 0; r < samples_.size(); ++r) {
    const auto& s = samples_[r];
    if (s.empty() || s.size() < kHealthRules[r].least_samples) continue;
    const double limit = kHealthRules[r].limit;
    std::optional<double> left;
    if (static_cast<double>(s.back().value) >= limit) {
      left = 0;
    } else if (kHealthRules[r].least_samples > 1 &&
               std::is_sorted(s.end() - kHealthRules[r].least_samples, s.end(),
                              [](const auto& a, const auto& b) { return a.value < b.value; })) {
      left = time_to_limit_ns(s, limit);
    }
    if (!left || *left > static_cast<double>(kFailureHorizonNs)) continue;
    const u64 left_ns = static_cast<u64>(*left);
    if (worst && worst->left_ns <= left_ns) continue;
    worst = {static_cast<HealthReading>(r), s.back().value, left_ns, static_cast<u32>(s.size())};
  }
  return worst;
}

}  // namespace dvm::locality
