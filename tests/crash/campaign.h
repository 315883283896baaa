// A random campaign: workers at work at once, killed at random times and at random failpoints.
#pragma once

#include "tests/crash/world.h"

namespace dvm::crash {

struct CampaignSettings {
  u64 kills = 3000;
  u64 seed = 1;
  u32 workers = 4;   // 1..8
  std::string only;  // "": everything; else one of kPartNames
  Mistake mistake = Mistake::none;
  double stall_seconds = 10;  // a worker gets nothing done for so long: a deadlock
};

// Returns the number of violations; each is printed. Progress on stderr, a summary on stdout.
u64 run_campaign(World& world, const CampaignSettings& settings);

}  // namespace dvm::crash
