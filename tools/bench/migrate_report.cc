#include "tools/bench/migrate_report.h"

namespace dvm::tools {
namespace {

constexpr double kIoctlsGoal = 2;

std::optional<double> median_of(const Series& series) {
  const auto summary = summarize(present(series));
  return summary ? std::optional(summary->median) : std::nullopt;
}

Series sum_of(const Series& a, const Series& b) {
  Series sums;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    sums.push_back(a[i] && b[i] ? std::optional(*a[i] + *b[i]) : std::nullopt);
  return sums;
}

}  // namespace

BenchResult plain_result(const std::string& name, const Series& us) {
  BenchResult r;
  r.name = "migrate." + name;
  r.unit = "us";
  r.summary = summarize(present(us));
  return r;
}

BenchResult limited_result(const std::string& name, const Series& us, double limit_us) {
  BenchResult r = plain_result(name, us);
  r.peer = "limit";
  r.peer_median = limit_us;
  r.goal = 1;
  if (r.summary) r.ratio = r.summary->median / limit_us;
  return r;
}

std::vector<BenchResult> move_results(const MoveSamples& moves, const Series& downtime_us) {
  const Series bare = sum_of(moves.bare_get_us, moves.bare_set_us);
  BenchResult pause = plain_result("pause", moves.pause_us);
  pause.peer = "bare-ioctls";
  pause.peer_median = median_of(bare);
  pause.ratio = paired_ratio(moves.pause_us, bare);
  pause.goal = kIoctlsGoal;
  std::vector<BenchResult> results = {std::move(pause)};
  for (std::size_t i = 0; i < moves.parts_us.size(); ++i)
    results.push_back(plain_result(fmt::format("part.{}", kMoveParts[i]), moves.parts_us[i]));
  results.push_back(plain_result("bare.get", moves.bare_get_us));
  results.push_back(plain_result("bare.set", moves.bare_set_us));
  if (downtime_us.empty()) return results;
  BenchResult beside = plain_result("pause.beside-qemu", moves.pause_us);
  beside.peer = "qemu-downtime";
  beside.peer_median = median_of(downtime_us);
  if (beside.summary && beside.peer_median.value_or(0) > 0)
    beside.ratio = beside.summary->median / *beside.peer_median;
  results.push_back(std::move(beside));
  results.push_back(plain_result("qemu.downtime", downtime_us));
  return results;
}

}  // namespace dvm::tools
