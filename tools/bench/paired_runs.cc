#include "tools/bench/paired_runs.h"

#include <algorithm>
#include <cmath>

namespace dvm::bench {
namespace {

struct LogRatio {
  double mean = 0, error = 0;
  std::size_t n = 0;
};

LogRatio log_ratio(const PairedTimes& t) {
  LogRatio r;
  r.n = std::min(t.ours.size(), t.peer.size());
  if (r.n == 0) return r;
  std::vector<double> logs(r.n);
  for (std::size_t i = 0; i < r.n; ++i) logs[i] = std::log(t.ours[i] / t.peer[i]);
  for (const double x : logs) r.mean += x;
  r.mean /= static_cast<double>(r.n);
  double squares = 0;
  for (const double x : logs) squares += (x - r.mean) * (x - r.mean);
  if (r.n > 1)
    r.error = std::sqrt(squares / static_cast<double>(r.n - 1) / static_cast<double>(r.n));
  return r;
}

// Student's t, one-sided 95 %, by its expansion in 1/f: within 0.5 % from f = 4 on.
double t95(std::size_t freedom) {
  const double z = 1.6449, f = static_cast<double>(std::max<std::size_t>(freedom, 1));
  return z + (z * z * z + z) / (4 * f) +
         (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * f * f);
}

}  // namespace

double PairedTimes::ratio() const { return std::exp(log_ratio(*this).mean); }

double PairedTimes::ratio_upper() const {
  const LogRatio r = log_ratio(*this);
  return std::exp(r.mean + t95(r.n > 1 ? r.n - 1 : 1) * r.error);
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = p / 100 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

PairedTimes run_pairs(u32 pairs, const std::function<double()>& ours,
                      const std::function<double()>& peer) {
  PairedTimes times;
  for (u32 i = 0; i <= pairs; ++i) {
    const bool ours_first = i % 2 == 0;
    const double first = ours_first ? ours() : peer();
    const double second = ours_first ? peer() : ours();
    if (i == 0 || first <= 0 || second <= 0) continue;
    times.ours.push_back(ours_first ? first : second);
    times.peer.push_back(ours_first ? second : first);
  }
  return times;
}

}  // namespace dvm::bench
