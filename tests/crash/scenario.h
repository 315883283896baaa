// One operation to be killed in, and the state of the world that it starts from.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/crash/world.h"

namespace dvm::crash {

struct Scenario {
  std::string name;
  std::string part;  // locks, allocator, log
  // Brings a fresh world to where the operation starts. Runs in the harness itself.
  std::function<void(World&, Worker&)> prepare;
  // Runs in a child, as an instance that is killed in it.
  std::function<void(World&, Worker&)> operation;
};

std::vector<Scenario> all_scenarios();

}  // namespace dvm::crash
