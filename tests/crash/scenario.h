// One operation to be killed in, and the state of the world that it starts from.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/crash/worker.h"

namespace dvm::crash {

struct Scenario {
  std::string name;
  Part part;
  // Brings a fresh world to where the operation starts. Runs in the harness itself.
  std::function<void(World&, Worker&)> prepare;
  // Runs in a child, as an instance that is killed in it.
  std::function<void(World&, Worker&)> operation;
  bool threads = false;  // it makes some, so it cannot be single-stepped
};

std::vector<Scenario> all_scenarios();
void add_group_scenarios(std::vector<Scenario>& to);

// The instance that the operation runs as.
fabric::InstanceId victim(World& world);
// For `prepare`: a worker of another instance, never destroyed; and its end, before it was fenced.
Worker& worker_as(World& world, u32 id);
void stop(World& world, u32 id);
// For `prepare`: a process runs `act` as a new life of `id` and is killed at its first passing of
// `point`. Nobody has noticed yet.
void die_at(World& world, u32 id, std::string_view point, const std::function<void(Worker&)>& act);

}  // namespace dvm::crash
