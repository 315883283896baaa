#include "tools/bench/fabric_detection.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "fabric/manager.h"
#include "fabric/recovery.h"

namespace dvm::bench {
namespace {

using namespace fabric;

constexpr u32 kVictim = 1, kListener = 2, kManagerId = kMaxInstances - 1;
constexpr u64 kGiveUpNs = 30'000'000'000;
constexpr u64 kSettleUs = 20'000;

struct World {
  InstanceTable instances;
  FabricState fabric;
  std::atomic<u64> heard_ns;  // when the listener had read of the death of `heard`
  std::atomic<u64> heard;     // packed InstanceId
  std::atomic<u64> ready;     // packed InstanceId of the victim that may be killed
  std::atomic<u32> bare;      // robust futex of a process that is no member of anything
  std::atomic<u64> bare_ns;   // when it was seen without its owner
};

struct Times {
  std::vector<double> detected_us, notified_us, recovered_us, pidfd_us, bare_us;
};

class DetectionBench {
 public:
  ~DetectionBench() {
    for (const pid_t pid : helpers_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    if (world_ != nullptr) ::munmap(world_, sizeof(World));
  }
  Status start();
  Status kill_one(u64 bytes, Times& times);
  Status kill_bare(u64 bytes, Times& times);

 private:
  // Forks; the child joins the fabric and its group, runs `body` and goes.
  template <typename Body>
  Result<pid_t> fork_peer(u32 id, Body body);
  void listen_for_deaths(Membership& group);
  void manage(Peer& peer);
  bool wait_until_over(InstanceId who) const;

  World* world_ = nullptr;
  std::vector<pid_t> helpers_;
};

template <typename Body>
Result<pid_t> DetectionBench::fork_peer(u32 id, Body body) {
  const InstanceId self = world_->instances.join(id, 0);
  const pid_t pid = ::fork();
  if (pid < 0) return sys_error("fork");
  if (pid != 0) return pid;
  auto peer = Peer::join(world_->fabric, self, 0);
  Membership group(world_->fabric.groups[FabricState::kEveryone], self, world_->instances);
  // The manager reads no notifications, so it is no member: who does not read holds others back.
  if (peer.ok() && (id == kManagerId || group.join({}).ok())) body(**peer, group);
  ::_exit(1);
}

void DetectionBench::listen_for_deaths(Membership& group) {
  std::array<Notification, 16> heard;
  for (;;) {
    const u32 seen = group.listen();
    const auto result = group.read(heard);
    const u64 now = monotonic_ns();
    for (u32 i = 0; i < result.count; ++i) {
      if (heard[i].kind != MemberState::died) continue;
      world_->heard_ns.store(now);
      world_->heard.store(heard[i].who.packed());
    }
    if (result.count == 0) group.wait(seen, std::nullopt);
  }
}

void DetectionBench::manage(Peer& peer) {
  const RecoveryTable none;
  Manager manager(world_->fabric, world_->instances, peer, {}, Manager::Eagerness::first);
  RecoveryRunner runner(world_->fabric, world_->instances, none, peer);
  std::thread managing([&] { (void)manager.run(); });
  std::thread recovering([&] { (void)runner.run(); });
  for (;;) ::pause();
}

Status DetectionBench::start() {
  void* p =
      ::mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return sys_error("mmap");
  world_ = static_cast<World*>(p);
  world_->fabric.deadline_ms.store(~0u);  // nobody beats here
  DVM_ASSIGN(const pid_t manager,
             fork_peer(kManagerId, [this](Peer& peer, Membership&) { manage(peer); }));
  helpers_.push_back(manager);
  DVM_ASSIGN(const pid_t listener,
             fork_peer(kListener, [this](Peer&, Membership& g) { listen_for_deaths(g); }));
  helpers_.push_back(listener);
  return {};
}

bool DetectionBench::wait_until_over(InstanceId who) const {
  const u64 until = monotonic_ns() + kGiveUpNs;
  while (world_->heard.load() != who.packed() ||
         look(world_->fabric.failures[who.id]).stage != FailureStage::dead) {
    if (monotonic_ns() > until) return false;
    ::usleep(500);
  }
  return true;
}

Status DetectionBench::kill_one(u64 bytes, Times& times) {
  DVM_ASSIGN(const pid_t pid, fork_peer(kVictim, [this, bytes](Peer& peer, Membership&) {
               void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
               if (p == MAP_FAILED) ::_exit(1);
               world_->ready.store(peer.self().packed());
               for (;;) ::pause();
             }));
  const InstanceId who{kVictim, world_->instances.slots[kVictim].generation.load()};
  const u64 until = monotonic_ns() + kGiveUpNs;
  while (world_->ready.load() != who.packed()) {
    if (monotonic_ns() > until || ::waitpid(pid, nullptr, WNOHANG) == pid) {
      ::kill(pid, SIGKILL);
      return error("the process to be killed does not start");
    }
    ::usleep(500);
  }
  ::usleep(kSettleUs);
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd end{process.get(), POLLIN, 0};
  const u64 killed = monotonic_ns();
  ::kill(pid, SIGKILL);
  ::poll(&end, 1, -1);
  const u64 ended = monotonic_ns();
  ::waitpid(pid, nullptr, 0);
  if (!wait_until_over(who)) return error("the death of a process was not announced");
  const FailureRecord& failure = world_->fabric.failures[kVictim];
  const u64 fenced = failure.fenced_ns.load();
  const auto us = [](u64 from, u64 to) {
    return (static_cast<double>(to) - static_cast<double>(from)) / 1000;
  };
  times.detected_us.push_back(us(killed, fenced));
  times.notified_us.push_back(us(fenced, world_->heard_ns.load()));
  times.recovered_us.push_back(us(fenced, failure.dead_ns.load()));
  times.pidfd_us.push_back(us(killed, ended));
  return {};
}

// The kernel's own part, which nobody who sleeps can be faster than: a process dies, and another
// wakes up from the wait for its robust futex.
Status DetectionBench::kill_bare(u64 bytes, Times& times) {
  world_->bare_ns.store(0);
  const pid_t waiter = ::fork();
  if (waiter == 0) {
    u32 seen;
    while ((seen = world_->bare.load()) == 0 || (seen & FUTEX_TID_MASK) != 0)
      ::syscall(SYS_futex, &world_->bare, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    world_->bare_ns.store(monotonic_ns());
    ::_exit(0);
  }
  const pid_t victim = ::fork();
  if (victim == 0) {
    ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
           0);
    robust_list entry{};
    const auto offset = reinterpret_cast<char*>(&world_->bare) - reinterpret_cast<char*>(&entry);
    robust_list_head head{{&entry}, offset, nullptr};
    entry.next = &head.list;
    ::syscall(SYS_set_robust_list, &head, sizeof head);
    world_->bare.store(static_cast<u32>(::gettid()) | FUTEX_WAITERS);
    for (;;) ::pause();
  }
  if (waiter < 0 || victim < 0) return sys_error("fork");
  while (world_->bare.load() == 0) ::usleep(500);
  ::syscall(SYS_futex, &world_->bare, FUTEX_WAKE, 1, nullptr, nullptr, 0);  // it saw 0
  ::usleep(kSettleUs);
  const u64 killed = monotonic_ns();
  ::kill(victim, SIGKILL);
  ::waitpid(victim, nullptr, 0);
  ::waitpid(waiter, nullptr, 0);
  world_->bare.store(0);
  times.bare_us.push_back(static_cast<double>(world_->bare_ns.load() - killed) / 1000);
  return {};
}

double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(p / 100 * static_cast<double>(values.size() - 1) + 0.5)];
}

DetectionRow row(std::string name, const std::vector<double>& us) {
  DetectionRow r{.name = std::move(name), .unit = "us", .n = us.size()};
  r.median = percentile(us, 50);
  r.p5 = percentile(us, 5);
  r.p95 = percentile(us, 95);
  return r;
}

std::vector<DetectionRow> make_rows(const DetectionSettings& settings,
                                    const std::vector<Times>& times) {
  std::vector<DetectionRow> rows;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const std::string size = fmt::format("{}MiB", settings.mapped_bytes[i] / kMiB);
    rows.push_back(row("fabric.detection." + size, times[i].detected_us));
    rows.back().goal = 120;
    rows.push_back(row("kernel.detection." + size, times[i].bare_us));
    rows.push_back(row("fabric.notification." + size, times[i].notified_us));
    rows.back().goal = 60;
    rows.push_back(row("fabric.recovery." + size, times[i].recovered_us));
    rows.push_back(row("pidfd.detection." + size, times[i].pidfd_us));
  }
  const std::size_t last = times.size() - 1;
  DetectionRow growth = row("fabric.detection.growth", times[last].detected_us);
  growth.peer = fmt::format("{}MiB", settings.mapped_bytes[0] / kMiB);
  growth.peer_median = percentile(times[0].detected_us, 50);
  growth.goal = 2;
  rows.push_back(growth);
  return rows;
}

}  // namespace

Result<std::vector<DetectionRow>> measure_detection(const DetectionSettings& settings) {
  if (settings.mapped_bytes.empty() || settings.rounds == 0) return error("nothing to measure");
  std::vector<Times> times(settings.mapped_bytes.size());
  DetectionBench bench;
  DVM_TRY(bench.start());
  for (u32 round = 0; round < settings.rounds; ++round) {
    for (std::size_t i = 0; i < times.size(); ++i) {
      DVM_TRY(bench.kill_bare(settings.mapped_bytes[i], times[i]));
      DVM_TRY(bench.kill_one(settings.mapped_bytes[i], times[i]));
    }
  }
  return make_rows(settings, times);
}

std::string detection_json(const std::vector<DetectionRow>& rows) {
  std::string text;
  for (const DetectionRow& r : rows) {
    text += fmt::format(
        R"({}{{"name":"{}","unit":"{}","median":{:.2f},"p5":{:.2f},"p95":{:.2f},"n":{})",
        text.empty() ? "[" : ",\n ", r.name, r.unit, r.median, r.p5, r.p95, r.n);
    if (!r.peer.empty()) {
      text += fmt::format(R"(,"peer":"{}","peer_median":{:.2f},"ratio":{:.3f})", r.peer,
                          r.peer_median, r.ratio());
    }
    if (r.goal) text += fmt::format(R"(,"goal":{},"holds":{})", *r.goal, r.holds());
    text += "}";
  }
  return text + "]";
}

std::string detection_text(const std::vector<DetectionRow>& rows) {
  std::string text;
  for (const DetectionRow& r : rows) {
    text += fmt::format("{:<34} {:9.1f} {}  (p5 {:.1f}, p95 {:.1f}, n {})", r.name, r.median,
                        r.unit, r.p5, r.p95, r.n);
    if (!r.peer.empty()) text += fmt::format("  {:.2f} x {}", r.ratio(), r.peer);
    if (r.goal) text += fmt::format("  goal {} {}", *r.goal, r.holds() ? "holds" : "MISSED");
    text += '\n';
  }
  return text;
}

}  // namespace dvm::bench
