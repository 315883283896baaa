#include "tests/crash/campaign_tally.h"

#include <cstdio>

namespace dvm::crash {
namespace {

u64 operations_of(const Record& record, std::size_t part) {
  u64 n = 0;
  for (const Progress& p : record.progress) n += p.operations[part].load();
  return n;
}

}  // namespace

void CampaignTally::count_kill(const Record& record, u32 id, bool at_a_point) {
  ++kills;
  at_points += at_a_point ? 1 : 0;
  ++kills_in[record.progress[id].part.load()];
}

void CampaignTally::report(const char* what, u64 of) const {
  const double seconds = static_cast<double>(fabric::monotonic_ns() - started_ns) / 1e9;
  std::fprintf(stderr, "%s: %lu of %lu kills (%lu at named points), %lu checks, %.0f s\n", what,
               kills, of, at_points, checks, seconds);
}

void CampaignTally::summarise(const Record& record, const fabric::FabricState& fabric) const {
  for (std::size_t part = 0; part < kPartNames.size(); ++part) {
    std::printf("%-10s %8lu killed in it, %12lu operations\n", kPartNames[part].data(),
                kills_in[part], operations_of(record, part));
  }
  u64 notifications = 0, takeovers = fabric::RoleWord::unpack(fabric.role.word.load()).epoch;
  for (u32 g = 0; g < kGroups; ++g) notifications += fabric.groups[g].tail.load();
  std::printf("%lu notifications in the groups, %lu managers one after the other, %.0f s\n",
              notifications, takeovers,
              static_cast<double>(fabric::monotonic_ns() - started_ns) / 1e9);
}

}  // namespace dvm::crash
