// A driver at work on a disk while the nodes that serve it are killed at random instants, one after
// the other: every request is completed exactly once, and data is that of a model disk.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many die
#include <sys/mman.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "tests/unit/disk_fixture.h"
#include "tests/unit/machine_driver.h"
#include "vmm/node_disk.h"

namespace dvm::vmm {
namespace {

using namespace testing;
using srt::testing::ImageFile;
using Clock = std::chrono::steady_clock;

constexpr u32 kFunction = 1, kNodes = 3;
constexpr u16 kQueues = 2, kSlots = 5;      // of the driver's 16 descriptors in each queue
constexpr u64 kSector = 512, kSectors = 8;  // of each slot, its own
constexpr u64 kDiskBytes = kQueues * kSlots * kSectors * kSector;
constexpr u64 kArea = 0x30'0000, kAreaBytes = 0x3000;  // of each slot: header, status, data

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// With a replica table or without; a loader's driver does not flush, so all that it reads is kept.
struct Variant {
  const char* name;
  bool replicas, loader;
};

MachineSpec spec_of_disk(const Variant& variant) {
  MachineSpec spec = machine_spec(1, {kNodes});
  auto& function = spec.config.functions[kFunction];
  function.kind = FunctionKind::block;
  function.queues = kQueues;
  function.block_bytes = function.physical_bytes = kSector;
  function.flags = kBlockDiscard | kBlockWriteZeroes;
  spec.capacity[kFunction] = kDiskBytes;
  if (variant.replicas) spec.replica_bytes = 16 * kMiB;
  return spec;
}

// The driver and its model of the disk: each slot has one request under way, to its own sectors.
class Driver {
 public:
  Driver(Machine& machine, u64 seed, bool flushes)
      : machine_(machine),
        driver_(machine, kFunction),
        flushes_(flushes),
        random_(seed),
        model_(kDiskBytes) {
    driver_.start(virtio::kFeatureEventIdx | (flushes ? virtio::kBlkFeatureFlush : 0) |
                      virtio::kBlkFeatureDiscard | virtio::kBlkFeatureWriteZeroes,
                  kQueues);
  }

  void ask_everywhere() {
    for (u16 q = 0; q < kQueues; ++q) {
      for (u16 s = 0; s < kSlots; ++s) {
        if (!slots_[q][s].asked) ask(q, s);
      }
    }
  }
  // Takes what was given back.
  void look() {
    for (u16 q = 0; q < kQueues; ++q) {
      for (const u16 used = driver_.used(q); seen_[q] != used; ++seen_[q])
        take(q, driver_.used_head(q, seen_[q]));
    }
  }
  bool waits() const {
    for (const auto& queue : slots_) {
      for (const Slot& slot : queue) {
        if (slot.asked) return true;
      }
    }
    return false;
  }
  u64 completed() const { return completed_; }
  const std::vector<std::byte>& model() const { return model_; }

 private:
  struct Slot {
    bool asked = false;
    virtio::BlkType type{};
    u64 first = 0, count = 0;  // sectors
    std::vector<std::byte> data;
  };

  static u64 area(u16 q, u16 s) { return kArea + (q * kSlots + s) * kAreaBytes; }
  static u64 header(u16 q, u16 s) { return area(q, s); }
  static u64 status(u16 q, u16 s) { return area(q, s) + 0x800; }
  static u64 data(u16 q, u16 s) { return area(q, s) + 0x1000; }
  u64 below(u64 n) { return random_() % n; }

  void ask(u16 q, u16 s) {
    using enum virtio::BlkType;
    constexpr auto kTypes =
        std::to_array({in, in, in, out, out, out, flush, discard, write_zeroes});
    Slot& slot = slots_[q][s];
    slot.asked = true;
    slot.type = kTypes[below(kTypes.size())];
    if (slot.type == flush && !flushes_) slot.type = in;
    slot.first = (q * kSlots + s) * kSectors + below(kSectors);
    slot.count = 1 + below((q * kSlots + s + 1) * kSectors - slot.first);
    slot.data.assign(slot.count * kSector, std::byte{0});
    if (slot.type == out) {
      for (auto& byte : slot.data) byte = static_cast<std::byte>(random_());
      EXPECT_TRUE(machine_.memory().write(data(q, s), slot.data).ok());
    }
    if (slot.type == in) {
      EXPECT_TRUE(machine_.memory().fill(data(q, s), slot.data.size(), std::byte{0xee}).ok());
    }
    const bool range = slot.type == discard || slot.type == write_zeroes;
    driver_.store(status(q, s), u8{0xff});
    driver_.store(header(q, s),
                  virtio::BlkHeader{static_cast<u32>(slot.type), 0,
                                    slot.type == in || slot.type == out ? slot.first : 0});
    if (range)
      driver_.store(data(q, s), virtio::BlkRange{slot.first, static_cast<u32>(slot.count), 0});
    std::vector<MachineDriver::Piece> pieces{{header(q, s), sizeof(virtio::BlkHeader), false}};
    const u32 bytes = range ? sizeof(virtio::BlkRange) : static_cast<u32>(slot.data.size());
    if (slot.type != flush) pieces.push_back({data(q, s), bytes, slot.type == in});
    pieces.push_back({status(q, s), 1, true});
    driver_.offer(q, pieces, static_cast<u16>(3 * s), false);
  }

  void take(u16 q, u32 head) {
    ASSERT_EQ(head % 3, 0u);
    ASSERT_LT(head / 3, kSlots);
    const u16 s = static_cast<u16>(head / 3);
    Slot& slot = slots_[q][s];
    ASSERT_TRUE(slot.asked) << "completed twice";
    slot.asked = false;
    ++completed_;
    EXPECT_EQ(machine_.memory().load<u8>(status(q, s)).value(), 0);
    const auto at = model_.begin() + static_cast<i64>(slot.first * kSector);
    if (slot.type == virtio::BlkType::flush) return;
    if (slot.type != virtio::BlkType::in) {
      std::ranges::copy(slot.data, at);
      return;
    }
    std::vector<std::byte> got(slot.data.size());
    EXPECT_TRUE(machine_.memory().read(data(q, s), got).ok());
    EXPECT_TRUE(std::ranges::equal(got, std::span(&*at, got.size()))) << "queue " << q;
  }

  Machine& machine_;
  MachineDriver driver_;
  const bool flushes_;
  std::mt19937_64 random_;
  std::vector<std::byte> model_;
  std::array<std::array<Slot, kSlots>, kQueues> slots_;
  std::array<u16, kQueues> seen_{};
  u64 completed_ = 0;
};

// The nodes' processes.
class Nodes {
 public:
  explicit Nodes(Machine& machine) : machine_(machine), image_(kDiskBytes) {
    void* p =
        ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(p, MAP_FAILED);
    deaths_ = static_cast<std::atomic<u32>*>(p);
    for (u32 n = 0; n < kNodes; ++n) start(n);
  }
  ~Nodes() {
    for (u32 n = 0; n < kNodes; ++n) kill(n);
    ::munmap(deaths_, kPageBytes);
  }
  void kill(u32 n) {
    ::kill(pids_[n], SIGKILL);
    ::waitpid(pids_[n], nullptr, 0);
    machine_.instances().retire(handles_[n]->self(), fabric::InstanceState::dead);
    deaths_->fetch_add(1);
  }
  // Nothing is left to be taken over from it: its number is free.
  bool may_start(u32 n) { return !machine_.holds_chains(kFirstNodeInstance + n); }
  void start(u32 n) {
    handles_[n] = attach_again(machine_, kFirstNodeInstance + n);
    pids_[n] = ::fork();
    if (pids_[n] == 0) serve(*handles_[n]);
  }
  std::vector<std::byte> content() const { return image_.content(); }

 private:
  // Its vCPUs notify now and then, and it hears of deaths.
  [[noreturn]] void serve(Machine& node) {
    const auto disk = open_node_disk(node, kFunction, image_.path(), kDiskBytes);
    MachineDriver driver(node, kFunction);
    for (u32 heard = ~0u;;) {
      if (const u32 now = deaths_->load(); now != heard) {
        heard = now;
        node.mend_devices();
      }
      for (u16 q = 0; q < kQueues; ++q) driver.ring(q);
      ::usleep(50);
    }
  }

  Machine& machine_;
  ImageFile image_;
  std::atomic<u32>* deaths_ = nullptr;
  std::array<std::unique_ptr<Machine>, kNodes> handles_;
  std::array<pid_t, kNodes> pids_{};
};

class DiskDeaths : public ::testing::TestWithParam<Variant> {};

TEST_P(DiskDeaths, RandomKillsLoseAndDoubleNothing) {
  DVM_NEEDS_URING();
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 60);
  const auto machine = make_machine(spec_of_disk(GetParam()));
  std::mt19937_64 random(seed + 1);
  Driver driver(*machine, seed, !GetParam().loader);
  Nodes nodes(*machine);
  // Works for a while, and until `enough`.
  const auto work = [&](Clock::duration least, const std::function<bool()>& enough, bool ask) {
    const auto begin = Clock::now();
    while (Clock::now() - begin < least || !enough()) {
      ASSERT_LT(Clock::now() - begin, std::chrono::seconds(60)) << "requests hang, seed " << seed;
      if (ask) driver.ask_everywhere();
      driver.look();
      ::usleep(20);
    }
  };
  for (u64 round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
    const u32 victim = static_cast<u32>(random() % kNodes);
    work(
        std::chrono::microseconds(random() % 8000), [] { return true; }, true);
    nodes.kill(victim);
    work(
        {}, [&] { return nodes.may_start(victim); }, true);
    nodes.start(victim);
  }
  const u64 before = driver.completed();
  work(
      {}, [&] { return driver.completed() > before + 100; }, true);
  work(
      {}, [&] { return !driver.waits(); }, false);
  EXPECT_TRUE(nodes.content() == driver.model()) << "seed " << seed;
  EXPECT_FALSE(machine->any_in_flight());
  RecordProperty("completed", static_cast<int>(driver.completed()));
  if (GetParam().loader) {
    EXPECT_GT(machine->replicas()->figures().reads_served.load(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(, DiskDeaths,
                         ::testing::Values(Variant{"plain", false, false},
                                           Variant{"replicas", true, false},
                                           Variant{"kept_replicas", true, true}),
                         [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace dvm::vmm
