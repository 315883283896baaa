#include "tools/bench/pages_hung.h"

#include <algorithm>

#include "fabric/detector.h"

namespace dvm::bench {

using hyperkernel::Pager;
using tools::BenchResult;

void HungNodeRows::write_copies(Pager& node, std::span<const u64> pages, Row& row) {
  std::vector<double> us;
  for (const u64 page : pages) {
    const u64 from = fabric::monotonic_ns();
    word(node, page).fetch_add(1);
    us.push_back(since_us(from));
  }
  row.medians.push_back(tools::percentile(us, 50));
  row.all.insert(row.all.end(), us.begin(), us.end());
}

// The peer's copies are read-only and ours each time; stopped, its threads do nothing at all.
void HungNodeRows::round(Pager& node, PagesPeer& peer, std::span<const u64> pages) {
  for (const bool resting : {false, true}) {
    for (const bool hung : {false, true}) {
      peer.tell(Order::read_all);
      if (resting) peer.tell(Order::rest);
      if (hung) peer.stop();
      write_copies(node, pages,
                   resting ? (hung ? hung_resting_ : well_resting_) : (hung ? hung_ : well_));
      if (hung) peer.go_on();
      if (resting) peer.tell(Order::run);
    }
  }
}

std::vector<BenchResult> HungNodeRows::results() const {
  const auto row = [](const char* name, const Row& r) {
    return BenchResult{.name = name, .unit = "us", .summary = tools::summarize(r.all)};
  };
  const auto beside = [&](const char* name, const Row& r, const char* peer, const Row& p) {
    BenchResult result = row(name, r);
    std::vector<double> ratios;
    for (std::size_t i = 0; i < r.medians.size(); ++i)
      ratios.push_back(r.medians[i] / p.medians[i]);
    result.peer = peer;
    result.peer_median = tools::percentile(p.all, 50);
    result.ratio = tools::percentile(ratios, 50);
    return result;
  };
  // The longest of all, as nobody may be held up for longer than it takes to fence the node.
  const double deadline_us = static_cast<double>(fabric::DetectorConfig().deadline_ns) / 1000;
  const double longest = *std::max_element(hung_.all.begin(), hung_.all.end());
  BenchResult slowest = {
      .name = "pages.copies.hung.max", .unit = "us", .summary = tools::summarize({longest})};
  slowest.peer = "fabric.deadline";
  slowest.peer_median = deadline_us;
  slowest.ratio = longest / deadline_us;
  slowest.goal = 1.0;
  BenchResult resting = beside("pages.copies.hung.resting", hung_resting_,
                               "pages.copies.well.resting", well_resting_);
  resting.goal = 1.1;
  return {row("pages.copies.well", well_),
          beside("pages.copies.hung", hung_, "pages.copies.well", well_), slowest,
          row("pages.copies.well.resting", well_resting_), resting};
}

}  // namespace dvm::bench
