// A node is killed at every point of a disk request's way, and so may be the one that takes over:
// every request is completed exactly once, and disk and memory are as if nobody had died.
#include <sys/wait.h>

#include <chrono>
#include <set>
#include <thread>

#include "fabric/failpoint.h"
#include "tests/unit/disk_fixture.h"
#include "tests/unit/machine_driver.h"
#include "vmm/node_disk.h"
#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {
namespace {

using namespace testing;
using srt::testing::ImageFile;

constexpr u32 kFunction = 1;
constexpr u16 kQueues = 2, kEach = 5;  // of the driver's 16 descriptors
constexpr u64 kSector = 512, kDiskBytes = 64 * kSector;
constexpr u64 kHeaders = 0x30'0000, kData = 0x31'0000, kStatus = 0x32'0000;
constexpr auto kPoints = std::to_array<const char*>(
    {"disk.taken", "disk.submitted", "disk.completed", "disk.answered", "device.stepped",
     "device.published", "device.queue_served", "device.line_driven", "device.msis_posted"});

std::byte pattern(u64 sector, u32 what) { return static_cast<std::byte>(sector * 3 + what); }

// One request of the driver's, to sectors that are its own.
struct Asked {
  virtio::BlkType type;
  u64 sector;
};
constexpr std::array<std::array<Asked, kEach>, kQueues> kAsked{
    {{{{virtio::BlkType::out, 1},
       {virtio::BlkType::in, 2},
       {virtio::BlkType::flush, 0},
       {virtio::BlkType::out, 3},
       {virtio::BlkType::write_zeroes, 4}}},
     {{{virtio::BlkType::in, 33},
       {virtio::BlkType::discard, 34},
       {virtio::BlkType::out, 35},
       {virtio::BlkType::get_id, 0},
       {virtio::BlkType::in, 36}}}}};

class World {
 public:
  World() : image_(kDiskBytes) {
    auto file = Fd::open(image_.path(), O_RDWR);
    for (u64 s = 0; s < kDiskBytes / kSector; ++s) {
      const std::vector<std::byte> bytes(kSector, pattern(s, 0));
      EXPECT_EQ(::pwrite(file->get(), bytes.data(), kSector, static_cast<off_t>(s * kSector)),
                ssize_t{kSector});
    }
    MachineSpec spec = machine_spec(1, {4});  // five nodes, the vCPU is on the last
    auto& function = spec.config.functions[kFunction];
    function.kind = FunctionKind::block;
    function.queues = kQueues;
    function.block_bytes = function.physical_bytes = kSector;
    function.flags = kBlockDiscard | kBlockWriteZeroes;
    spec.capacity[kFunction] = kDiskBytes;
    machine = make_machine(spec);
    driver.emplace(*machine, kFunction);
    driver->start(virtio::kFeatureEventIdx | virtio::kBlkFeatureFlush | virtio::kBlkFeatureDiscard |
                      virtio::kBlkFeatureWriteZeroes,
                  kQueues);
    for (u16 q = 0; q < kQueues; ++q) {
      for (u16 n = 0; n < kEach; ++n) ask(q, n);
    }
  }

  std::unique_ptr<NodeDisk> open(Machine& node) {
    return open_node_disk(node, kFunction, image_.path(), kDiskBytes);
  }

  // A node's process does `act` and then what is asked of it. True: it was killed at that point.
  template <typename Act>
  bool die_at(u32 index, const char* point, u32 skip, Act&& act) {
    const auto node = attach_again(*machine, kFirstNodeInstance + index);
    const pid_t child = ::fork();
    if (child == 0) {
      static fabric::FaultTable table{};
      auto disk = open(*node);
      fabric::watch_faults(&table, 1);
      fabric::arm_fault(table, point, fabric::FaultAction::kill, skip, ~0u, 0);
      act(*node);
      const bool used = all_used();
      disk.reset();  // its threads end in order: TSan counts one that nobody joined as a leak
      ::_exit(used ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "requests hang";
    machine->instances().retire(node->self(), fabric::InstanceState::dead);
    return WIFSIGNALED(status);
  }

  bool all_used() const {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (driver->used(0) != kEach || driver->used(1) != kEach) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::yield();
    }
    return true;
  }

  void expect_done_once() {
    ASSERT_TRUE(all_used()) << driver->used(0) << " " << driver->used(1);
    const auto content = image_.content();
    for (u16 q = 0; q < kQueues; ++q) {
      std::set<u32> heads;
      for (u16 n = 0; n < kEach; ++n) {
        heads.insert(driver->used_head(q, n));
        expect_done(q, n, content);
      }
      EXPECT_EQ(heads.size(), kEach) << "each chain once";
      const auto& state = machine->state().functions[kFunction].queues[q];
      EXPECT_EQ(state.published().in_flight, 0);
      EXPECT_EQ(state.lock.owner.load(), 0u);
    }
    EXPECT_TRUE(virtio_irq(machine->state().functions[kFunction].device.published()));
    EXPECT_FALSE(machine->any_in_flight());
  }

  std::unique_ptr<Machine> machine;
  std::optional<MachineDriver> driver;

 private:
  static u64 place(u64 base, u16 q, u16 n) { return base + q * 0x4000u + n * 0x800u; }

  void ask(u16 q, u16 n) {
    const Asked& asked = kAsked[q][n];
    const u64 header = place(kHeaders, q, n), data = place(kData, q, n);
    driver->store(header, virtio::BlkHeader{static_cast<u32>(asked.type), 0, asked.sector});
    driver->store(place(kStatus, q, n), u8{0xff});
    std::vector<MachineDriver::Piece> pieces{{header, sizeof(virtio::BlkHeader), false}};
    switch (asked.type) {
      case virtio::BlkType::in: pieces.push_back({data, kSector, true}); break;
      case virtio::BlkType::out:
        EXPECT_TRUE(machine->memory().fill(data, kSector, pattern(asked.sector, 1)).ok());
        pieces.push_back({data, kSector, false});
        break;
      case virtio::BlkType::flush: break;
      case virtio::BlkType::get_id: pieces.push_back({data, kBlkIdBytes, true}); break;
      case virtio::BlkType::discard:
      case virtio::BlkType::write_zeroes:
        driver->store(data, virtio::BlkRange{asked.sector, 1, 0});
        driver->store(header, virtio::BlkHeader{static_cast<u32>(asked.type), 0, 0});
        pieces.push_back({data, sizeof(virtio::BlkRange), false});
    }
    pieces.push_back({place(kStatus, q, n), 1, true});
    driver->offer(q, pieces, static_cast<u16>(3 * n), false);
  }

  void expect_done(u16 q, u16 n, const std::vector<std::byte>& content) {
    SCOPED_TRACE(fmt::format("queue {}, request {}", q, n));
    const Asked& asked = kAsked[q][n];
    EXPECT_EQ(machine->memory().load<u8>(place(kStatus, q, n)).value(), 0);
    std::byte on_disk = pattern(asked.sector, 0);
    if (asked.type == virtio::BlkType::out) on_disk = pattern(asked.sector, 1);
    if (asked.type == virtio::BlkType::discard || asked.type == virtio::BlkType::write_zeroes)
      on_disk = std::byte{0};
    if (asked.type == virtio::BlkType::flush || asked.type == virtio::BlkType::get_id) return;
    EXPECT_EQ(content[asked.sector * kSector], on_disk);
    EXPECT_EQ(content[asked.sector * kSector + kSector - 1], on_disk);
    if (asked.type != virtio::BlkType::in) return;
    for (const u64 at : {u64{0}, kSector - 1})
      EXPECT_EQ(machine->memory().load<std::byte>(place(kData, q, n) + at).value(), on_disk);
  }

  ImageFile image_;
};

void ring_all(World& w, Machine& node) {
  MachineDriver driver(node, kFunction);
  for (u16 q = 0; q < kQueues; ++q) driver.ring(q);
  (void)w.all_used();
}

// The survivor, in this process, hears of the death.
void survive(World& w) {
  const auto node = attach_again(*w.machine, kFirstNodeInstance + 3);
  const auto disk = w.open(*node);
  node->mend_devices();
  EXPECT_TRUE(w.all_used());
  node->mend_devices();  // as often as one likes
  disk->drain();
  w.expect_done_once();
}

TEST(DiskTakeover, AKillAtAnyPointCompletesEveryRequestOnce) {
  DVM_NEEDS_URING();
  u32 deaths = 0;
  for (const char* point : kPoints) {
    for (u32 skip = 0; skip < 60; ++skip) {
      SCOPED_TRACE(fmt::format("killed at {}, {}", point, skip));
      World w;
      const bool died = w.die_at(0, point, skip, [&](Machine& node) { ring_all(w, node); });
      deaths += died ? 1 : 0;
      survive(w);
      if (!died || HasFailure()) break;
    }
  }
  EXPECT_GT(deaths, 40u);
}

// The second dies in taking over, at any point; the first one's I/O may be going on still.
TEST(DiskTakeover, WhoTakesOverMayDieToo) {
  DVM_NEEDS_URING();
  u32 deaths = 0;
  for (const char* first : {"disk.taken", "disk.submitted", "disk.answered"}) {
    for (const char* point : kPoints) {
      for (u32 skip = 0; skip < 40; skip += 3) {
        SCOPED_TRACE(fmt::format("killed at {}, then at {}, {}", first, point, skip));
        World w;
        ASSERT_TRUE(w.die_at(0, first, 0, [&](Machine& node) { ring_all(w, node); }));
        const bool died = w.die_at(1, point, skip, [&](Machine& node) {
          node.mend_devices();
          (void)w.all_used();
        });
        deaths += died ? 1 : 0;
        survive(w);
        if (!died || HasFailure()) break;
      }
    }
  }
  EXPECT_GT(deaths, 30u);
}

// A driver that resets its device takes back what the dead had in hand; it is told that the reset
// is over when it has been fenced and taken over, not before.
TEST(DiskTakeover, ADriversResetWaitsForTheDead) {
  DVM_NEEDS_URING();
  World w;
  ASSERT_TRUE(w.die_at(0, "disk.taken", 0, [&](Machine& node) { ring_all(w, node); }));
  const int used = w.driver->used(0) + w.driver->used(1);
  w.driver->reset();
  EXPECT_TRUE(w.machine->any_in_flight());
  EXPECT_TRUE(w.machine->holds_chains(kFirstNodeInstance));
  EXPECT_NE(w.driver->status(), 0) << "not reset yet";
  const auto node = attach_again(*w.machine, kFirstNodeInstance + 3);
  const auto disk = w.open(*node);
  node->mend_devices();
  disk->drain();
  EXPECT_FALSE(w.machine->any_in_flight());
  EXPECT_FALSE(w.machine->holds_chains(kFirstNodeInstance));
  EXPECT_EQ(w.driver->status(), 0);
  EXPECT_EQ(w.driver->used(0) + w.driver->used(1), used);
}

// Nothing is issued again while the dead one's I/O may go on: another process keeps its file open.
TEST(DiskTakeover, TheFenceIsWaitedFor) {
  DVM_NEEDS_URING();
  World w;
  const auto dead = attach_again(*w.machine, kFirstNodeInstance);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const Fd from(ends[0]), to(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    static fabric::FaultTable table{};
    const auto disk = w.open(*dead);
    const pid_t keeper = ::fork();  // it has the same open file
    if (keeper == 0) {
      ::pause();
      ::_exit(0);
    }
    (void)!::write(to.get(), &keeper, sizeof(keeper));
    fabric::watch_faults(&table, 1);
    fabric::arm_fault(table, "disk.submitted", fabric::FaultAction::kill, 2, ~0u, 0);
    ring_all(w, *dead);
    ::_exit(1);
  }
  pid_t keeper = 0;
  ASSERT_EQ(::read(from.get(), &keeper, sizeof(keeper)), ssize_t{sizeof(keeper)});
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  w.machine->instances().retire(dead->self(), fabric::InstanceState::dead);
  const auto node = attach_again(*w.machine, kFirstNodeInstance + 3);
  const auto disk = w.open(*node);
  node->mend_devices();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(w.machine->holds_chains(node->self().id)) << "it has them";
  EXPECT_LT(w.driver->used(0) + w.driver->used(1), kQueues * kEach) << "and waits";
  ::kill(keeper, SIGKILL);
  EXPECT_TRUE(w.all_used());
  disk->drain();
  w.expect_done_once();
}

}  // namespace
}  // namespace dvm::vmm
