#include "tools/page_summary.h"

#include <fmt/format.h>

#include <cinttypes>
#include <cstdio>

#include "hyperkernel/coherence_record.h"

namespace dvm::tools {
namespace {

constexpr std::string_view kBegin = "software coherence: ";

}  // namespace

std::optional<PageSummary> page_summary(vmm::Machine& machine) {
  if (!machine.has_software_coherence()) return std::nullopt;
  const auto coherence = hyperkernel::Coherence::of(machine.pool());
  if (!coherence.ok()) return std::nullopt;
  PageSummary all;
  for (u32 node = 0; node < hyperkernel::kMaxNodes; ++node) {
    const auto& counters = coherence->node(node).counters;
    all.faults += counters.faults.load(std::memory_order_relaxed);
    all.hand_overs += counters.taken.load(std::memory_order_relaxed);
    all.shared += counters.shared.load(std::memory_order_relaxed);
    all.evicted += counters.evicted.load(std::memory_order_relaxed);
  }
  return all;
}

std::string summary_text(const PageSummary& s) {
  return fmt::format("{}{} faults, {} pages handed over, {} shared, {} evicted", kBegin, s.faults,
                     s.hand_overs, s.shared, s.evicted);
}

std::optional<PageSummary> read_summary(std::string_view line) {
  const auto at = line.find(kBegin);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string text(line.substr(at + kBegin.size()));
  PageSummary s;
  const int found =
      std::sscanf(text.c_str(),
                  "%" SCNu64 " faults, %" SCNu64 " pages handed over, %" SCNu64 " shared, %" SCNu64,
                  &s.faults, &s.hand_overs, &s.shared, &s.evicted);
  if (found != 4) return std::nullopt;
  return s;
}

}  // namespace dvm::tools
