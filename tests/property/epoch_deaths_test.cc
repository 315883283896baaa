// A guest that computes while the nodes that end its epochs are killed, at every point of an end
// and of a roll-back, by turns: after each roll-back memory, vCPUs and devices are of one instant,
// and no epoch that ended is lost.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many times each point
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "fabric/failpoint.h"
#include "tests/unit/machine_fixture.h"
#include "vmm/epoch_member.h"

namespace dvm::vmm {
namespace {

using namespace testing;
using Clock = std::chrono::steady_clock;

// Node 0 has the vCPUs and lives; the others end epochs, and die.
constexpr u32 kNodes = 3, kVcpus = 2;
constexpr u64 kArea = 0x100'0000, kAreaPages = 300;  // of each vCPU
constexpr u16 kScratch = 0x3f8 + 7;                  // the serial port's, which holds a byte

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

MachineSpec protected_spec() {
  MachineSpec spec = machine_spec(kVcpus, {0, 0});
  spec.config.nodes = kNodes;
  spec.config.protection = Protection::epoch;
  spec.epoch_ms = kLeastEpochMs;
  return spec;
}

// What all processes see of the test.
struct Shared {
  fabric::FaultTable faults;
  std::atomic<bool> stop;
  std::atomic<u32> wrong, checked;
  std::array<std::atomic<u64>, kVcpus> steps;
};

// A vCPU that is no KVM's: each step writes a word that follows from its number, and each state is
// the number of steps.
class Vcpu {
 public:
  Vcpu(Machine& machine, Shared& shared, u32 index)
      : machine_(machine), record_(*machine.epoch()), shared_(shared), index_(index) {}

  void run() {
    machine_.state().vcpus[index_].run_state.store(VcpuRunState::outside);
    while (!shared_.stop.load()) {
      const u32 seen = fabric::listen(record_.bell);
      const u64 now = record_.word.load();
      const EpochWord word = EpochWord::unpack(now);
      // Its end may have begun already.
      if (rolled_ && word.stage != EpochStage::rolling) go_back(word.epoch);
      if (word.stage == EpochStage::open) {
        step();
        continue;
      }
      rolled_ = word.stage == EpochStage::rolling;
      if (word.stage == EpochStage::stopping)
        record_.banks[(word.epoch + 1) % 2].vcpus[index_].state.regs.rax = steps_;
      if (record_.answered[index_].exchange(now) != now) fabric::ring(record_.bell);
      fabric::wait(record_.bell, seen, fabric::monotonic_ns() + 1'000'000);
    }
  }

 private:
  static u64 mixed(u64 n) {
    n = (n ^ n >> 31) * 0x7fb5'd329'728e'a185u;
    return n ^ n >> 27;
  }
  // Some pages are written all the time, others seldom.
  u64 place(u64 step) const {
    const u64 r = mixed(step * kVcpus + index_);
    const u64 page = r % 4 != 0 ? r / 4 % 20 : r / 4 % kAreaPages;
    return kArea + (index_ * kAreaPages + page) * kPageBytes + mixed(r) % 512 * sizeof(u64);
  }
  void step() {
    ++steps_;
    if (!machine_.memory().store<u64>(place(steps_), steps_).ok()) wrong("a store");
    if (index_ == 0 && steps_ % 64 == 0)
      machine_.port_write(kScratch, 1, static_cast<u8>(steps_ / 64));
    shared_.steps[index_].store(steps_);
    if (steps_ % 64 == 0) ::usleep(20);  // there may be few processors
  }
  void go_back(u32 epoch) {
    rolled_ = false;
    const u64 at = record_.banks[epoch % 2].vcpus[index_].state.regs.rax;
    if (at > steps_) wrong("a step from the future");
    steps_ = at;
    std::vector<u64> model(kAreaPages * kPageBytes / sizeof(u64));
    const u64 base = kArea + index_ * kAreaPages * kPageBytes;
    for (u64 s = 1; s <= steps_; ++s) model[(place(s) - base) / sizeof(u64)] = s;
    std::vector<u64> memory(model.size());
    if (!machine_.memory().read(base, std::as_writable_bytes(std::span(memory))).ok() ||
        memory != model)
      wrong("memory");
    if (index_ == 0 && machine_.port_read(kScratch, 1) != static_cast<u8>(steps_ / 64))
      wrong("a device");
    shared_.checked.fetch_add(1);
  }
  void wrong(const char* what) {
    fmt::print(stderr, "vCPU {}, step {}: {} is wrong\n", index_, steps_, what);
    shared_.wrong.fetch_add(1);
  }

  Machine& machine_;
  EpochRecord& record_;
  Shared& shared_;
  const u32 index_;
  u64 steps_ = 0;
  bool rolled_ = false;
};

// The processes. This one has no thread, as it forks.
class World {
 public:
  World() : machine_(make_machine(protected_spec())) {
    void* p =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(p, MAP_FAILED);
    shared_ = new (p) Shared{};
    for (u32 n = 0; n < kNodes; ++n) start(n);
  }
  ~World() {
    shared_->stop.store(true);
    fabric::ring(record().bell);
    for (const pid_t pid : pids_) {
      ::usleep(1000);
      if (pid > 0) ::kill(pid, SIGKILL);
      if (pid > 0) ::waitpid(pid, nullptr, 0);
    }
    ::munmap(shared_, sizeof(Shared));
  }
  EpochRecord& record() { return *machine_->epoch(); }
  Shared& shared() { return *shared_; }
  Machine& machine() { return *machine_; }

  void start(u32 n) {
    handles_[n] = attach_again(*machine_, kFirstNodeInstance + n);
    pids_[n] = ::fork();
    if (pids_[n] == 0) be_node(n);
  }
  // The one that is killed at that point, once it has passed it `skip` times.
  std::optional<u32> dies_at(const char* point, u32 skip) {
    EXPECT_TRUE(
        fabric::arm_fault(shared_->faults, point, fabric::FaultAction::kill, skip, ~0u, 0, 1));
    if (waits_for_roll_back(point)) ask_to_roll_back(record());
    for (const auto until = Clock::now() + std::chrono::seconds(30); Clock::now() < until;) {
      for (u32 n = 1; n < kNodes; ++n) {
        if (::waitpid(pids_[n], nullptr, WNOHANG) != pids_[n]) continue;
        pids_[n] = -1;
        machine_->instances().retire(handles_[n]->self(), fabric::InstanceState::dead);
        fabric::ring(record().bell);
        return n;
      }
      ::usleep(200);
    }
    return std::nullopt;
  }
  bool gets_on() {
    const u64 before = record().figures.commits.load();
    const auto steps = shared_->steps[0].load();
    for (const auto until = Clock::now() + std::chrono::seconds(30); Clock::now() < until;) {
      if (record().figures.commits.load() >= before + 2 && shared_->steps[0].load() != steps)
        return true;
      ::usleep(200);
    }
    return false;
  }
  static bool waits_for_roll_back(std::string_view point) {
    return point == "epoch.resting" || point == "epoch.pages_back" || point == "epoch.bank_back";
  }

 private:
  [[noreturn]] void be_node(u32 n) {
    Machine& machine = *handles_[n];
    fabric::watch_faults(&shared_->faults, kFirstNodeInstance + n);
    EpochMemberOptions options;
    options.coordinates = n != 0;
    auto member = EpochMember::join(machine, std::move(options));
    if (!member.ok()) {
      fmt::print(stderr, "node {}: {}\n", n, member.error().message);
      shared_->wrong.fetch_add(1);
      ::_exit(1);
    }
    std::vector<std::thread> vcpus;
    for (u32 i = 0; n == 0 && i < kVcpus; ++i)
      vcpus.emplace_back([&, i] { Vcpu(machine, *shared_, i).run(); });
    while (!shared_->stop.load()) ::usleep(1000);
    for (auto& thread : vcpus) thread.join();
    ::_exit(0);
  }

  std::unique_ptr<Machine> machine_;
  Shared* shared_;
  std::array<std::unique_ptr<Machine>, kNodes> handles_;
  std::array<pid_t, kNodes> pids_{};
};

TEST(EpochDeaths, MemoryVcpusAndDevicesAreOfOneInstant) {
  if (const auto able = hyperkernel::Userfault::make_for_writes(); !able.ok())
    GTEST_SKIP() << able.error().message;
  constexpr std::array kPoints = {"epoch.stopping",  "epoch.closing", "epoch.filled",
                                  "epoch.committed", "epoch.resting", "epoch.pages_back",
                                  "epoch.bank_back"};
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 3);
  std::mt19937_64 random(seed);
  World world;
  u32 asked = 0;
  for (u64 round = 0; round < rounds; ++round) {
    for (const char* point : kPoints) {
      ASSERT_TRUE(world.gets_on()) << "before " << point << ", seed " << seed;
      const bool back = World::waits_for_roll_back(point);
      const auto dead = world.dies_at(point, back ? 0 : static_cast<u32>(random() % 5));
      ASSERT_TRUE(dead) << "nobody came to " << point;
      // A host that is lost takes the machine back; a node whose keeper did its work does not.
      const bool rolls = !back && random() % 2 == 0;
      if (rolls) ask_to_roll_back(world.record());
      asked += back || rolls ? 1 : 0;
      ASSERT_TRUE(world.gets_on()) << "after " << point << ", seed " << seed;
      world.start(*dead);
      ASSERT_EQ(world.shared().wrong.load(), 0u) << point << ", seed " << seed;
    }
  }
  EXPECT_GE(world.record().figures.roll_backs.load(), asked);
  EXPECT_GE(world.shared().checked.load(), asked * kVcpus);
}

}  // namespace
}  // namespace dvm::vmm
