// What software coherence came to in the life of a guest, as dvm-run says it at the end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/machine.h"

namespace dvm::tools {

struct PageSummary {
  u64 faults = 0, hand_overs = 0, shared = 0, evicted = 0;
  friend bool operator==(const PageSummary&, const PageSummary&) = default;
};

// Nothing: the guest has no software coherence. Of all members, those that are gone too.
std::optional<PageSummary> page_summary(vmm::Machine& machine);
std::string summary_text(const PageSummary& summary);
// The line again, whatever stands before it.
std::optional<PageSummary> read_summary(std::string_view line);

}  // namespace dvm::tools
