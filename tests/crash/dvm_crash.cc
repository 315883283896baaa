// dvm-crash: kills processes in the fabric's locks, allocator, groups, failures and log, and checks
// what is left.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "fabric/doorbell.h"
#include "tests/crash/campaign.h"
#include "tests/crash/stepping.h"

int main(int argc, char** argv) {
  using namespace dvm::crash;  // NOLINT
  CLI::App app(
      "kills processes in the fabric's locks, allocator, groups, failures and log, and checks what "
      "is left");
  CampaignSettings campaign;
  campaign.kills = 0;
  campaign.seed = dvm::fabric::monotonic_ns();
  bool steps = false, points = false;
  std::string mistake = "none";
  dvm::u64 every_step_up_to = StepSettings{}.every_step_up_to;
  app.add_option("--kills", campaign.kills, "a random campaign of so many kills");
  app.add_option("--seed", campaign.seed, "of the campaign's choices (printed)");
  app.add_option("--workers", campaign.workers, "at work at once")->check(CLI::Range(1, 8));
  app.add_option("--only", campaign.only, "one part")
      ->check(CLI::IsMember(std::vector<std::string>(kPartNames.begin(), kPartNames.end())));
  app.add_option("--stall", campaign.stall_seconds, "seconds without progress are a deadlock");
  app.add_flag("--steps", steps, "kill at every single instruction of every operation");
  app.add_option("--every-step-up-to", every_step_up_to,
                 "of operations with up to so many steps; of longer ones at every store");
  app.add_flag("--points", points, "kill at every named point");
  app.add_option("--mistake", mistake, "let the test subject make a mistake (see the README)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 64;
  }
  if (!mistake_by_name(mistake, campaign.mistake)) {
    std::fprintf(stderr, "dvm-crash: no mistake is called %s\n", mistake.c_str());
    return 64;
  }
  const StepSettings stepping{campaign.only, every_step_up_to, campaign.mistake};
  dvm::u64 violations = 0;
  if (points) violations += kill_at_every_point(stepping);
  if (steps) violations += kill_at_every_step(stepping);
  if (campaign.kills != 0) {
    std::printf("seed %lu\n", campaign.seed);
    auto world = World::make();
    if (!world.ok()) {
      std::fprintf(stderr, "dvm-crash: %s\n", world.error().message.c_str());
      return 1;
    }
    violations += run_campaign(**world, campaign);
  }
  return violations == 0 ? 0 : 1;
}
