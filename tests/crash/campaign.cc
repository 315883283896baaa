#include "tests/crash/campaign.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>

#include "fabric/failpoint.h"
#include "tests/crash/campaign_tally.h"
#include "tests/crash/points.h"
#include "tests/crash/signals_held.h"
#include "tests/crash/worker.h"

namespace dvm::crash {
namespace {

using fabric::InstanceId;

constexpr u64 kKillsBetweenChecks = 1000;
// More ids than workers: who died comes back only when the others have recovered what it left.
constexpr u32 kIdsPerWorker = 3;

void pause_us(u64 microseconds) {
  const timespec t{0, static_cast<long>(microseconds * 1000)};
  ::nanosleep(&t, nullptr);
}

class Campaign {
 public:
  Campaign(World& world, const CampaignSettings& s)
      : world_(world), settings_(s), random_(s.seed), survivor_(world.instances().join(0, 1)) {
    world.observe_as(survivor_);
    running = this;
    std::signal(SIGCHLD, [](int) { running->take_note(); });
  }
  ~Campaign() { std::signal(SIGCHLD, SIG_DFL); }
  Campaign(const Campaign&) = delete;
  Campaign& operator=(const Campaign&) = delete;

  u64 run();

 private:
  u32 last_id() const { return settings_.workers * kIdsPerWorker; }
  Part chosen(Part part) const;
  void take_note();
  bool start(u32 id);
  [[noreturn]] void work(InstanceId self, u64 seed);
  Part one_operation(Worker& worker, u32 id, u64 random) const;
  void reap(u32 id, bool at_a_point);
  void kill(u32 id);
  void revive();
  void kill_one();
  bool stalled();
  bool check_all();
  bool until_next_check(u64 next_check);
  void complain(const std::string& what);

  World& world_;
  CampaignSettings settings_;
  u64 random_;
  InstanceId survivor_;
  static inline Campaign* running = nullptr;
  std::array<std::atomic<pid_t>, fabric::kMaxInstances> pids_{};
  std::array<std::atomic<bool>, fabric::kMaxInstances> stopped_{};
  std::array<InstanceId, fabric::kMaxInstances> ids_{};
  u32 living_ = 0;
  u64 violations_ = 0;
  CampaignTally tally_;
  u64 last_report_ns_ = fabric::monotonic_ns();
};

void Campaign::complain(const std::string& what) {
  std::printf("violation after %lu kills: %s\n", tally_.kills, what.c_str());
  ++violations_;
}

Part Campaign::chosen(Part part) const {
  if (settings_.only.empty() || part == Part::failures) return part;
  std::size_t only = 0;
  while (kPartNames[only] != settings_.only) ++only;
  return static_cast<Part>(only);
}

// All take part in burying the dead, whatever else they do.
Part Campaign::one_operation(Worker& worker, u32 id, u64 random) const {
  static constexpr std::array<Part, 16> kMix = {
      Part::locks,     Part::locks,     Part::locks,     Part::locks,
      Part::allocator, Part::allocator, Part::allocator, Part::allocator,
      Part::allocator, Part::groups,    Part::groups,    Part::groups,
      Part::groups,    Part::failures,  Part::log,       Part::log};
  const u64 kind = random % 8;
  const Part part = chosen(kMix[random / 8 % kMix.size()]);
  random /= 8 * kMix.size();
  world_.record().progress[id].part.store(static_cast<u32>(part), std::memory_order_relaxed);
  switch (part) {
    case Part::locks: kind < 4 ? worker.word_section() : worker.queue_section(); break;
    case Part::allocator:
      if (kind < 2) {
        worker.allocate_and_free(random);
      } else if (kind < 7) {
        worker.change_word(random);
      } else {
        worker.recover_someone(random);
      }
      break;
    case Part::groups: worker.change_group(random); break;
    case Part::failures:
      worker.lead();
      worker.recover_due();
      break;
    case Part::log: worker.append(); break;
  }
  return part;
}

void Campaign::work(InstanceId self, u64 seed) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGCHLD, SIG_DFL);
  SignalsHeld::let_through();
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
    const Part part = one_operation(worker, self.id, next_random(seed));
    world_.record().progress[self.id].operations[static_cast<std::size_t>(part)].fetch_add(
        1, std::memory_order_relaxed);
  }
}

// False: what the former life of the id left is not recovered yet.
bool Campaign::start(u32 id) {
  if (!world_.is_over(id)) return false;
  if (ids_[id].valid()) {
    std::vector<std::string> found;
    world_.check_burial(id, found);
    for (const auto& what : found) complain(what);
  }
  const u64 seed = next_random(random_);
  ids_[id] = world_.instances().join(id, 1);
  const SignalsHeld held;  // until the process is known that they may be about
  const pid_t pid = ::fork();
  if (pid == 0) work(ids_[id], seed);
  pids_[id] = pid;
  ++living_;
  return true;
}

// Confirmed stopped, then fenced: as the failure detector does it. By a signal, since the harness
// may itself be waiting for a lock of the dead. (Nothing here but atomics and system calls.)
void Campaign::take_note() {
  for (u32 id = 1; id <= last_id(); ++id) {
    if (pids_[id] <= 0 || stopped_[id] || ::waitpid(pids_[id], nullptr, WNOHANG) != pids_[id])
      continue;
    world_.fence(ids_[id]);
    stopped_[id] = true;
  }
}

void Campaign::reap(u32 id, bool at_a_point) {
  if (!stopped_[id].exchange(false)) return;
  pids_[id] = 0;
  --living_;
  tally_.count_kill(world_.record(), id, at_a_point);
}

void Campaign::kill(u32 id) {
  if (pids_[id] <= 0) return;
  {
    const SignalsHeld held;
    ::kill(pids_[id], SIGKILL);
    while (!stopped_[id]) held.wait();
  }
  reap(id, false);
}

// Takes note of those that died at a point, and starts others, as many as there are ids for.
void Campaign::revive() {
  for (u32 id = 1; id <= last_id(); ++id) reap(id, true);
  const u32 first = static_cast<u32>(next_random(random_) % last_id());
  for (u32 n = 0; n < last_id() && living_ < settings_.workers; ++n) {
    const u32 id = 1 + (first + n) % last_id();
    if (pids_[id] == 0) start(id);
  }
  if (living_ != 0) return;
  // All died, and nobody was left to recover any: the harness does, once.
  Worker mender(world_, survivor_, Mistake::none);
  for (u32 id = 1; id <= last_id(); ++id) mender.bury(id);
}

void Campaign::kill_one() {
  pause_us(next_random(random_) % 200);
  revive();
  for (const auto& wrong : {world_.observers()[0].take_in(), world_.observers()[1].take_in()})
    if (!wrong.empty()) complain(wrong);
  u32 victim = 1 + static_cast<u32>(next_random(random_) % last_id());
  for (u32 n = 0; n < last_id() && pids_[victim] == 0; ++n) victim = 1 + victim % last_id();
  kill(victim);
  if (next_random(random_) % 4 == 0) pause_us(50);  // the others meet what it left
}

// Without further kills, every worker gets something done: else somebody waits for what will never
// come. (Amid kills a lock that is never released is released by the next death.)
bool Campaign::stalled() {
  const auto done = [this](u32 id) {
    u64 n = 0;
    for (const auto& count : world_.record().progress[id].operations) n += count.load();
    return n;
  };
  const u64 start = fabric::monotonic_ns();
  for (u32 id = 1; id <= last_id(); ++id) {
    const u64 before = done(id);
    const InstanceId who = ids_[id];
    while (pids_[id] != 0 && ids_[id] == who && done(id) <= before + 1000) {
      if (static_cast<double>(fabric::monotonic_ns() - start) > settings_.stall_seconds * 1e9)
        return true;
      pause_us(100);
      revive();
    }
  }
  return false;
}

bool Campaign::check_all() {
  for (u32 id = 1; id <= last_id(); ++id) kill(id);
  ++tally_.checks;
  ::alarm(30);  // a survivor that waits for ever is a deadlock, too
  const auto found = world_.settle_and_check(survivor_);
  ::alarm(0);
  for (const auto& what : found) complain(what);
  return violations_ == 0;
}

// False: something is wrong, or they do not get on.
bool Campaign::until_next_check(u64 next_check) {
  u64 kills = tally_.kills, moved_ns = fabric::monotonic_ns();
  while (tally_.kills + settings_.workers < next_check) {
    kill_one();
    const u64 now = fabric::monotonic_ns();
    if (violations_ != 0 || world_.record().violated.load() != 0) return false;
    if (now - last_report_ns_ > 5'000'000'000ull) {
      last_report_ns_ = now;
      tally_.report("running", settings_.kills);
    }
    if (kills != tally_.kills) {
      kills = tally_.kills;
      moved_ns = now;
    } else if (static_cast<double>(now - moved_ns) > settings_.stall_seconds * 1e9) {
      complain("deadlock: nobody recovers the dead");
      return false;
    }
  }
  return true;
}

u64 Campaign::run() {
  while (violations_ == 0 && tally_.kills < settings_.kills) {
    revive();
    const u64 next_check = std::min(settings_.kills, tally_.kills + kKillsBetweenChecks);
    if (until_next_check(next_check) && stalled()) {
      complain(fmt::format("deadlock: a worker did nothing for {:.0f} s", settings_.stall_seconds));
    }
    check_all();
  }
  tally_.report("done", settings_.kills);
  tally_.summarise(world_.record(), world_.fabric());
  std::printf("seed %lu: %lu kills, %lu violations\n", settings_.seed, tally_.kills, violations_);
  return violations_;
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
