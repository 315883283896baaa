// A machine's pool of which something was overwritten: whoever opens it says what and where, and
// follows nothing of it.
#include <functional>
#include <random>

#include "fabric/fabric_state.h"
#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;
using fabric::RegionKind;

// Opens the pool anew, as a node does.
Result<std::unique_ptr<Machine>> open_again(Machine& machine) {
  auto fd = machine.pool().fd().duplicate();
  DVM_ASSIGN(fabric::Pool pool, fabric::Pool::attach(fd.take(), "damaged"));
  return Machine::attach(std::move(pool), 40);
}

template <typename T>
T* raw(Machine& machine, RegionKind kind, u32 version) {
  return machine.pool().new_record<T>(kind, version).take();
}

struct Parts {
  std::byte* pool;
  fabric::InstanceTable& instances;
  fabric::EventLog& events;
  MachineState& state;
  fabric::FabricState& fabric;
  std::atomic<u64>* directory;
  std::atomic<u64>* directory_changed;
};

Parts parts_of(Machine& m) {
  auto* instances = raw<fabric::InstanceTable>(m, RegionKind::instances, fabric::kInstancesVersion);
  auto* directory =
      raw<std::atomic<u64>>(m, RegionKind::page_directory, hyperkernel::kPageDirectoryVersion);
  const u64 at = m.pool().region_header(RegionKind::instances, fabric::kInstancesVersion)->offset;
  return {reinterpret_cast<std::byte*>(instances) - at,
          *instances,
          m.events(),
          m.state(),
          *raw<fabric::FabricState>(m, RegionKind::membership, fabric::kMembershipVersion),
          directory,
          directory + hyperkernel::PageDirectory::of(m.pool())->pages()};
}

// What is overwritten, where the error has to point to, and the region it has to name.
struct Damage {
  const char* what;
  const char* region;
  std::function<const void*(Parts&)> inflict;
};

const std::vector<Damage> kDamages = {
    {"an instance's state", "instances",
     [](Parts& p) -> const void* {
       p.instances.slots[7].state.store(static_cast<fabric::InstanceState>(99));
       return &p.instances.slots[7].state;
     }},
    {"an event's number", "events",
     [](Parts& p) -> const void* {
       p.events.ring[9].sequence = 77;
       return &p.events.ring[9];
     }},
    {"a byte of the configuration", "machine",
     [](Parts& p) -> const void* {
       p.state.config.memory_bytes ^= 1ull << 40;
       return &p.state.config;
     }},
    {"the length of the CPU model", "machine",
     [](Parts& p) -> const void* {
       p.state.cpu.count.store(100'000);
       return &p.state.cpu.count;
     }},
    {"an entry of the CPU model", "machine",
     [](Parts& p) -> const void* {
       p.state.cpu.count.store(3);
       p.state.cpu.checksum = cpu_checksum(p.state.cpu, 3);
       p.state.cpu.entries[2].ebx ^= 4;
       return &p.state.cpu.checksum;
     }},
    {"the phase", "machine",
     [](Parts& p) -> const void* {
       p.state.control.phase.store(static_cast<Phase>(17));
       return &p.state.control.phase;
     }},
    {"a vCPU's place", "machine",
     [](Parts& p) -> const void* {
       p.state.vcpus[0].place.store(layout::kMaxNodes);
       return &p.state.vcpus[0].place;
     }},
    {"a ring's index in a device", "machine",
     [](Parts& p) -> const void* {
       auto& s = const_cast<SerialState&>(p.state.serial.published());
       s.rx_head = 200;
       return &s.rx_head;
     }},
    {"a device's number of queues", "machine",
     [](Parts& p) -> const void* {
       auto& s = const_cast<VirtioPciState&>(p.state.functions[0].device.published());
       s.queue_count = 0x8001;
       return &s.queue_count;
     }},
    {"an entry of the page directory", "page directory",
     [](Parts& p) -> const void* {
       p.directory[5].store(1ull << 31);  // of its frame
       p.directory_changed->store(1);
       return &p.directory[5];
     }},
    {"the manager's name", "membership",
     [](Parts& p) -> const void* {
       p.fabric.role.word.store(fabric::RoleWord{{200, 1}, 1}.packed());
       return &p.fabric.role.word;
     }},
    {"who a peer is", "membership",
     [](Parts& p) -> const void* {
       p.fabric.peers.records[3].instance.store(fabric::InstanceId{77, 1}.packed());
       return &p.fabric.peers.records[3].instance;
     }},
    {"the stage of a failure", "membership",
     [](Parts& p) -> const void* {
       p.fabric.failures[4].word.store(0x1'0000'00ffull);
       return &p.fabric.failures[4].word;
     }},
    {"a member's state", "membership",
     [](Parts& p) -> const void* {
       p.fabric.groups[2].members[6].state = static_cast<fabric::MemberState>(66);
       return &p.fabric.groups[2].members[6].state;
     }},
    {"whom a notification is of", "membership",
     [](Parts& p) -> const void* {
       p.fabric.groups[0].log[3].who.store(fabric::InstanceId{99, 3}.packed());
       return &p.fabric.groups[0].log[3].who;
     }},
    {"a change under way", "membership",
     [](Parts& p) -> const void* {
       p.fabric.groups[1].change.who = {1000, 1};
       p.fabric.groups[1].armed.store(1);
       return &p.fabric.groups[1].change;
     }},
};

void expect_reported(const Error& e, const char* region, u64 offset) {
  EXPECT_NE(e.message.find(region), std::string::npos) << e.message;
  EXPECT_NE(e.message.find(fmt::format("offset {:#x}", offset)), std::string::npos) << e.message;
}

TEST(DamagedPool, EveryRecordOutOfRangeIsReportedByNameAndOffset) {
  for (const Damage& damage : kDamages) {
    SCOPED_TRACE(damage.what);
    const auto machine = make_machine(machine_spec(2));
    Parts parts = parts_of(*machine);
    ASSERT_TRUE(open_again(*machine).ok()) << "whole before";
    const auto* at = static_cast<const std::byte*>(damage.inflict(parts));
    const auto opened = open_again(*machine);
    ASSERT_FALSE(opened.ok());
    expect_reported(opened.error(), damage.region, static_cast<u64>(at - parts.pool));
  }
}

TEST(DamagedPool, EveryByteOfEverySealIsChecked) {
  const auto machine = make_machine(machine_spec(1));
  std::byte* const pool = parts_of(*machine).pool;
  const fabric::PoolHeader& header = machine->pool().header();
  for (u32 r = 0; r < header.region_count; ++r) {
    if (header.regions[r].kind == RegionKind::frames) continue;
    const u64 at = header.regions[r].offset - sizeof(fabric::RegionSeal);
    for (u64 i = 0; i < sizeof(fabric::RegionSeal); i += 3) {
      pool[at + i] ^= std::byte{0x20};
      const auto opened = open_again(*machine);
      ASSERT_FALSE(opened.ok()) << r << ", byte " << i;
      expect_reported(opened.error(), fabric::region_name(header.regions[r].kind).data(), at);
      EXPECT_FALSE(machine->pool().region(header.regions[r].kind, header.regions[r].version).ok());
      pool[at + i] ^= std::byte{0x20};
    }
  }
  EXPECT_TRUE(open_again(*machine).ok());
}

TEST(DamagedPool, TheHeaderIsChecked) {
  const auto machine = make_machine(machine_spec(1));
  std::byte* const pool = parts_of(*machine).pool;
  pool[offsetof(fabric::PoolHeader, regions) + 9] ^= std::byte{1};
  const auto opened = open_again(*machine);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message.find("header checksum"), std::string::npos);
}

// All that anybody does with a pool that was opened: it may find nonsense, it must come back.
void use(Machine& m) {
  Parts parts = parts_of(m);
  fabric::read_events(m.events(), 0, [](const fabric::Event& e) {
    (void)fabric::event_name(e.kind);
    (void)fabric::event_arguments(e.kind);
  });
  m.log_event(fabric::EventKind::warning, {1});
  for (fabric::Group& group : parts.fabric.groups) {
    fabric::Membership members(group, m.self(), m.instances());
    std::array<fabric::Notification, 32> heard;
    (void)members.read(heard);
    (void)members.catch_up();
    (void)members.view();
    (void)members.announce_death({3, 1});
  }
  for (u32 port = 0; port < 0x1000; ++port) (void)m.port_read(static_cast<u16>(port), 1);
  for (u64 at = 0; at < 0x6000; at += 4) (void)m.mmio_read(0, layout::kPciMmioBase + at, 4);
  for (u64 at = 0; at < 0x1000; at += 4) {
    (void)m.mmio_read(0, layout::kEcamBase + 0x8000 + at, 4);
    (void)m.mmio_read(0, layout::kIoApicBase + at, 4);
    (void)m.mmio_read(0, layout::kLocalApicBase + at, 4);
  }
  m.run_device_timers();
  (void)m.next_device_deadline();
  std::array<char, 100> text;
  (void)m.console_output(text);
  (void)m.console_input(std::string_view("x"));
  (void)m.all_parked();
}

// Flips bytes anywhere in the metadata. Either it is noticed when the pool is opened, or what was
// flipped leads nowhere out of it. (Run under AddressSanitizer by `tools/test`.)
TEST(DamagedPool, RandomDamageIsNeverFollowedOutOfThePool) {
  std::mt19937_64 random(11);
  u32 refused = 0;
  constexpr u32 kRounds = 300;
  for (u32 round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const auto machine = make_machine(machine_spec(1));
    Parts parts = parts_of(*machine);
    const fabric::PoolHeader& header = machine->pool().header();
    for (u32 flips = 1 + static_cast<u32>(random() % 200); flips != 0; --flips) {
      const fabric::RegionHeader& r = header.regions[random() % (header.region_count - 1)];
      parts.pool[r.offset + random() % r.bytes] ^= static_cast<std::byte>(1u << random() % 8);
    }
    // Nobody is signalled, and a lock that seems to be held is held by the dead.
    for (VcpuRecord& v : parts.state.vcpus) {
      v.pid.store(0);
      v.tid.store(0);
    }
    for (auto& slot : parts.instances.slots) slot.generation.fetch_add(1000);
    auto opened = open_again(*machine);
    if (opened.ok()) {
      use(**opened);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_LT(refused, kRounds) << "some damage must get past the door, or this shows nothing";
}

}  // namespace
}  // namespace dvm::vmm
