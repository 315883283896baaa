#include "tests/crash/campaign.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>

#include "fabric/failpoint.h"
#include "tests/crash/points.h"

namespace dvm::crash {
namespace {

using fabric::InstanceId;

constexpr u64 kKillsBetweenChecks = 1000;

void pause_us(u64 microseconds) {
  const timespec t{0, static_cast<long>(microseconds * 1000)};
  ::nanosleep(&t, nullptr);
}

class Campaign {
 public:
  Campaign(World& world, const CampaignSettings& s)
      : world_(world), settings_(s), random_(s.seed), survivor_(world.instances().join(0, 1)) {}

  u64 run();

 private:
  void start(u32 id);
  [[noreturn]] void work(InstanceId self, u64 seed);
  void one_operation(Worker& worker, u64 random) const;
  void reap(u32 id, int options);
  void revive();
  void kill_one();
  bool stalled();
  u64 check_all();
  void report(const char* what) const;

  World& world_;
  CampaignSettings settings_;
  u64 random_;
  InstanceId survivor_;
  std::array<pid_t, fabric::kMaxInstances> pids_{};
  std::array<InstanceId, fabric::kMaxInstances> ids_{};
  u64 kills_ = 0, at_points_ = 0, checks_ = 0;
  u64 last_report_ns_ = fabric::monotonic_ns();
};

void Campaign::one_operation(Worker& worker, u64 random) const {
  const bool all = settings_.only.empty();
  const u64 kind = random % 16;
  random /= 16;
  if (all || settings_.only == "locks") {
    if (kind < 3) worker.word_section();
    if (kind >= 3 && kind < 6) worker.queue_section();
  }
  if (all || settings_.only == "allocator") {
    if (kind >= 6 && kind < 8) worker.allocate_and_free(random);
    if (kind >= 8 && kind < 13) worker.change_word(random);
    if (kind == 13) worker.recover_someone(random);
  }
  if ((all || settings_.only == "log") && kind >= 14) worker.append();
}

void Campaign::work(InstanceId self, u64 seed) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Half of them die at a named point, at its k-th passing, unless they are killed before.
  if (next_random(seed) % 2 == 0) {
    static fabric::FaultTable table{};
    const u64 point = next_random(seed) % kPoints.size();
    fabric::arm_fault(table, kPoints[point], fabric::FaultAction::kill,
                      static_cast<u32>(next_random(seed) % 20), ~0u, 0);
    fabric::watch_faults(&table, self.id);
  }
  Worker worker(world_, self, settings_.mistake);
  if (auto s = worker.attach(); !s.ok()) {
    world_.complain(s.error().message);
    ::_exit(1);
  }
  for (;;) {
    one_operation(worker, next_random(seed));
    world_.record().operations[self.id].fetch_add(1, std::memory_order_relaxed);
  }
}

void Campaign::start(u32 id) {
  const u64 seed = next_random(random_);
  ids_[id] = world_.instances().join(id, 1);
  pids_[id] = ::fork();
  if (pids_[id] == 0) work(ids_[id], seed);
}

// Confirmed stopped, then announced: as the failure detector does it.
void Campaign::reap(u32 id, int options) {
  if (pids_[id] <= 0 || ::waitpid(pids_[id], nullptr, options) != pids_[id]) return;
  pids_[id] = 0;
  world_.instances().retire(ids_[id], fabric::InstanceState::dead);
  ++kills_;
}

// Those that died at a point.
void Campaign::revive() {
  for (u32 id = 1; id <= settings_.workers; ++id) {
    const u64 before = kills_;
    reap(id, WNOHANG);
    at_points_ += kills_ - before;
    if (pids_[id] == 0) start(id);
  }
}

void Campaign::kill_one() {
  const u32 victim = 1 + static_cast<u32>(next_random(random_) % settings_.workers);
  pause_us(next_random(random_) % 300);
  revive();
  ::kill(pids_[victim], SIGKILL);
  reap(victim, 0);
  if (next_random(random_) % 4 == 0) pause_us(50);  // the others meet what it left
  start(victim);
}

// Without further kills, every worker gets something done: else somebody waits for what will never
// come. (Amid kills a lock that is never released is released by the next death.)
bool Campaign::stalled() {
  std::array<u64, fabric::kMaxInstances> before{};
  for (u32 id = 0; id < before.size(); ++id) before[id] = world_.record().operations[id].load();
  const u64 start = fabric::monotonic_ns();
  for (u32 id = 1; id <= settings_.workers;) {
    if (world_.record().operations[id].load() > before[id] + 100) {
      ++id;
      continue;
    }
    if (static_cast<double>(fabric::monotonic_ns() - start) > settings_.stall_seconds * 1e9)
      return true;
    pause_us(100);
    revive();
  }
  return false;
}

u64 Campaign::check_all() {
  for (u32 id = 1; id <= settings_.workers; ++id) {
    if (pids_[id] > 0) ::kill(pids_[id], SIGKILL);
    reap(id, 0);
  }
  ++checks_;
  ::alarm(30);  // a survivor that waits for ever is a deadlock, too
  const auto found = world_.settle_and_check(survivor_);
  ::alarm(0);
  for (const auto& what : found)
    std::printf("violation after %lu kills: %s\n", kills_, what.c_str());
  return found.size();
}

void Campaign::report(const char* what) const {
  u64 operations = 0;
  for (const auto& n : world_.record().operations) operations += n.load();
  std::fprintf(stderr, "%s: %lu kills (%lu at named points), %lu operations, %lu checks\n", what,
               kills_, at_points_, operations, checks_);
}

u64 Campaign::run() {
  u64 violations = 0;
  while (violations == 0 && kills_ < settings_.kills) {
    for (u32 id = 1; id <= settings_.workers; ++id) start(id);
    const u64 next_check = std::min(settings_.kills, kills_ + kKillsBetweenChecks);
    while (kills_ + settings_.workers < next_check && world_.record().violated.load() == 0) {
      kill_one();
      if (fabric::monotonic_ns() - last_report_ns_ > 5'000'000'000ull) {
        last_report_ns_ = fabric::monotonic_ns();
        report("running");
      }
    }
    if (world_.record().violated.load() == 0 && stalled()) {
      std::printf("violation after %lu kills: deadlock: a worker did nothing for %.0f s\n", kills_,
                  settings_.stall_seconds);
      ++violations;
    }
    violations += check_all();
  }
  report("done");
  std::printf("%lu kills, %lu violations\n", kills_, violations);
  return violations;
}

void deadlock_in_check(int) {
  static constexpr char kText[] = "violation: deadlock: the survivor waits for ever\n";
  (void)!::write(STDOUT_FILENO, kText, sizeof(kText) - 1);
  ::_exit(1);
}

}  // namespace

u64 run_campaign(World& world, const CampaignSettings& settings) {
  std::signal(SIGALRM, deadlock_in_check);
  return Campaign(world, settings).run();
}

}  // namespace dvm::crash
