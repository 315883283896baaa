// What a campaign has done so far, for people.
#pragma once

#include "tests/crash/world.h"

namespace dvm::crash {

struct CampaignTally {
  u64 kills = 0, at_points = 0, checks = 0;
  std::array<u64, kPartNames.size()> kills_in{};  // by what the dead one was doing
  u64 started_ns = fabric::monotonic_ns();

  void count_kill(const Record& record, u32 id, bool at_a_point);
  void report(const char* what, u64 of) const;  // one line, on stderr
  // A line for each part, on stdout.
  void summarise(const Record& record, const fabric::FabricState& fabric) const;
};

}  // namespace dvm::crash
