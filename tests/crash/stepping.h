// Kills at every single instruction: a child runs one operation under single-step and is killed
// after k steps, for every k; then a survivor recovers and everything is checked.
#pragma once

#include "tests/crash/scenario.h"

namespace dvm::crash {

struct StepSettings {
  std::string only;  // one of kPartNames, or empty
  // Operations of up to so many steps are killed for real after each of them. Of all, longer ones
  // too, every image that they leave in the pool between two steps is recovered from and checked.
  u64 every_step_up_to = 300;
  Mistake mistake = Mistake::none;
};

// Both return the number of violations, each printed.
u64 kill_at_every_step(const StepSettings& settings);
// Also a violation: a named point that no operation passes.
u64 kill_at_every_point(const StepSettings& settings);

}  // namespace dvm::crash
