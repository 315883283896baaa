#include "tests/crash/stepping.h"

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <set>

#include "fabric/failpoint.h"
#include "tests/crash/points.h"

namespace dvm::crash {
namespace {

using fabric::InstanceId;

constexpr u64 kEndless = 2'000'000;  // steps: an operation that takes more waits for ever

// A world brought to a scenario's start, to which it returns before each kill.
class Stage {
 public:
  Stage(World& world, const Scenario& scenario, Mistake mistake)
      : world_(world),
        scenario_(scenario),
        survivor_(world.instances().join(0, 1)),
        victim_(world.instances().join(1, 1)),
        worker_(world, victim_, mistake) {
    world.observe_as(survivor_);
    if (scenario.name != "attach to the allocator") (void)worker_.attach();
    scenario.prepare(world, worker_);
    start_.assign(world.image().begin(), world.image().end());
    observers_ = std::make_unique<World::Observers>(world.observers());
  }
  ~Stage() { restore(); }  // the worker's cache then gives back what it had at the start
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  void restore() { restore(start_); }
  // A child that stops itself before the operation and after it.
  pid_t start_traced();
  // Steps it at most `steps` times; true: it has come to the operation's end.
  bool step(pid_t child, u64 steps);
  // The pool as it is after each step that changes it; `total` becomes the number of steps.
  std::vector<std::vector<std::byte>> images(u64& total);
  u64 kill_after(u64 steps);
  // The same as a kill right after the step that left this image: of the dead only the pool stays.
  u64 check_image(const std::vector<std::byte>& image, u64 number);
  // True: it died at the point (and `violations` grows by what was found then).
  bool kill_at(std::string_view point, u32 skip, u64& violations);

 private:
  void restore(std::span<const std::byte> image);
  u64 check(const std::string& when);

  World& world_;
  const Scenario& scenario_;
  InstanceId survivor_, victim_;
  Worker worker_;
  std::vector<std::byte> start_;
  std::unique_ptr<World::Observers> observers_;
};

// What the harness has heard of goes back with the pool that it heard it in.
void Stage::restore(std::span<const std::byte> image) {
  std::memcpy(world_.image().data(), image.data(), image.size());
  World::Observers(*observers_).swap(world_.observers());
}

pid_t Stage::start_traced() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    scenario_.operation(world_, worker_);
    ::raise(SIGSTOP);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return child;
}

bool Stage::step(pid_t child, u64 steps) {
  for (u64 i = 0; i < steps; ++i) {
    int status = 0;
    ::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP) return true;
  }
  return false;
}

std::vector<std::vector<std::byte>> Stage::images(u64& total) {
  std::vector<std::vector<std::byte>> images;
  restore();
  const pid_t child = start_traced();
  std::span<const std::byte> seen = start_;
  for (total = 0; total < kEndless && !step(child, 1); ++total) {
    const auto now = world_.image();
    if (std::memcmp(seen.data(), now.data(), seen.size()) == 0) continue;
    seen = images.emplace_back(now.begin(), now.end());
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return images;
}

u64 Stage::check_image(const std::vector<std::byte>& image, u64 number) {
  restore(image);
  return check(fmt::format("after its store {}", number));
}

u64 Stage::check(const std::string& when) {
  world_.instances().retire(victim_, fabric::InstanceState::dead);
  ::alarm(30);
  const auto found = world_.settle_and_check(survivor_);
  ::alarm(0);
  for (const auto& what : found)
    std::printf("violation: %s, killed %s: %s\n", scenario_.name.c_str(), when.c_str(),
                what.c_str());
  return found.size();
}

u64 Stage::kill_after(u64 steps) {
  restore();
  const pid_t child = start_traced();
  step(child, steps);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return check(fmt::format("after {} steps", steps));
}

bool Stage::kill_at(std::string_view point, u32 skip, u64& violations) {
  restore();
  const pid_t child = ::fork();
  if (child == 0) {
    static fabric::FaultTable table{};
    fabric::arm_fault(table, point, fabric::FaultAction::kill, skip, ~0u, 0);
    fabric::watch_faults(&table, 1);
    scenario_.operation(world_, worker_);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const bool died = WIFSIGNALED(status);
  violations += check(died ? fmt::format("at {}", point) : "after its end");
  return died;
}

std::string_view part_name(const Scenario& s) {
  return kPartNames[static_cast<std::size_t>(s.part)];
}

}  // namespace

u64 kill_at_every_step(const StepSettings& settings) {
  u64 violations = 0, kills = 0;
  for (const Scenario& scenario : all_scenarios()) {
    if (!settings.only.empty() && part_name(scenario) != settings.only) continue;
    if (scenario.threads) continue;
    auto world = World::make();
    if (!world.ok()) return 1;
    Stage stage(**world, scenario, settings.mistake);
    u64 total = 0, here = 0;
    const auto images = stage.images(total);
    if (total >= kEndless) {
      std::printf("violation: %s does not end\n", scenario.name.c_str());
      ++violations;
    }
    for (u64 i = 0; i < images.size() && violations == 0; ++i, ++here)
      violations += stage.check_image(images[i], i + 1);
    for (u64 k = 0; k <= total && violations == 0 && total <= settings.every_step_up_to;
         ++k, ++here)
      violations += stage.kill_after(k);
    kills += here;
    std::fprintf(stderr, "%s: %lu steps, %zu of them store; %lu kills\n", scenario.name.c_str(),
                 total, images.size(), here);
  }
  std::printf("every step: %lu kills, %lu violations\n", kills, violations);
  return violations;
}

u64 kill_at_every_point(const StepSettings& settings) {
  u64 violations = 0, kills = 0;
  std::set<std::string_view> passed;
  for (const Scenario& scenario : all_scenarios()) {
    if (!settings.only.empty() && part_name(scenario) != settings.only) continue;
    auto world = World::make();
    if (!world.ok()) return 1;
    Stage stage(**world, scenario, settings.mistake);
    for (const std::string_view point : kPoints) {
      for (u32 skip = 0; violations == 0 && stage.kill_at(point, skip, violations); ++skip) {
        passed.insert(point);
        ++kills;
      }
    }
  }
  if (settings.only.empty() && settings.mistake == Mistake::none && violations == 0) {
    for (const std::string_view point : kPoints) {
      if (passed.contains(point)) continue;
      std::printf("violation: nothing passes %s\n", std::string(point).c_str());
      ++violations;
    }
  }
  std::printf("every point: %lu kills at %zu points, %lu violations\n", kills, passed.size(),
              violations);
  return violations;
}

}  // namespace dvm::crash
