#include "hyperkernel/locality/decision.h"

#include <fmt/format.h>

#include <array>

#include "fabric/health.h"

namespace dvm::locality {
namespace {

constexpr std::array<std::string_view, kActs> kActNames = {"move-vcpu", "swap-vcpus", "share-page",
                                                           "keep-page", "evacuate-node"};
constexpr std::array<std::string_view, kBecauses> kBecauseNames = {
    "pages-there", "talks-there",  "majority", "ping-pong",
    "mostly-read", "node-failing", "node-came"};

double ms(u64 ns) { return static_cast<double>(ns) / 1e6; }

std::string what(const Decision& d) {
  switch (d.act) {
    case Act::move_vcpu:
      return fmt::format("vCPU {} goes from node {} to node {}", d.vcpu, d.from, d.to);
    case Act::swap_vcpus:
      return fmt::format("vCPU {} on node {} and vCPU {} on node {} change places", d.vcpu, d.from,
                         d.other, d.to);
    case Act::share_page: return fmt::format("page {:#x} is shared", d.page);
    case Act::keep_page: return fmt::format("page {:#x} is not shared", d.page);
    case Act::evacuate_node: return fmt::format("node {} is evacuated", d.from);
  }
  return "nothing";
}

std::string why(const Decision& d) {
  switch (d.because) {
    case Because::pages_there:
      return fmt::format(
          "{} pages that it fetched from there lately took {:.1f} ms, the move costs {:.1f} ms",
          d.count, ms(d.gain_ns), ms(d.price_ns));
    case Because::talks_there:
      return fmt::format(
          "pages that go to and fro between it and vCPUs there took {:.1f} ms lately, the move "
          "costs {:.1f} ms",
          ms(d.gain_ns), ms(d.price_ns));
    case Because::majority:
      return fmt::format("{} pages, most of those that it fetched lately, came from there",
                         d.count);
    case Because::ping_pong:
      return fmt::format(
          "it changed hands {} times, which took {:.1f} ms, sharing it costs {:.1f} ms", d.count,
          ms(d.gain_ns), ms(d.price_ns));
    case Because::mostly_read:
      return fmt::format(
          "reading it from the coherent region would cost {:.1f} ms for each {:.1f} ms that its "
          "hand-overs take",
          ms(d.price_ns), ms(d.gain_ns));
    case Because::node_failing:
      return fmt::format("its {} is {} and would reach what it can bear in {:.0f} s",
                         fabric::reading_name(static_cast<fabric::HealthReading>(d.detail)),
                         d.value, static_cast<double>(d.price_ns) / 1e9);
    case Because::node_came:
      return fmt::format("node {} has just come and has none, node {} has {}", d.to, d.from,
                         d.count);
  }
  return "no reason";
}

}  // namespace

bool is_sound(const Decision& d) {
  const bool vcpu = d.vcpu == kNoVcpu || d.vcpu < kMaxVcpus;
  const bool other = d.other == kNoVcpu || d.other < kMaxVcpus;
  return static_cast<u32>(d.act) < kActs && static_cast<u32>(d.because) < kBecauses && vcpu &&
         other && d.from < kMaxNodes && d.to < kMaxNodes && d.detail < fabric::kHealthReadings;
}

std::string_view act_name(Act act) {
  const auto i = static_cast<std::size_t>(act);
  return i < kActNames.size() ? kActNames[i] : "unknown";
}

std::string_view because_name(Because because) {
  const auto i = static_cast<std::size_t>(because);
  return i < kBecauseNames.size() ? kBecauseNames[i] : "unknown";
}

std::string sentence(const Decision& d) { return fmt::format("{}: {}", what(d), why(d)); }

}  // namespace dvm::locality
