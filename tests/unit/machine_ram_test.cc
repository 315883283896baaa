// RAM that has a place of its own for each boot, and what of it stays for the replica table.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/machine_fixture.h"
#include "vmm/ram_place.h"
#include "vmm/replica_sweep.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: machines to test with
using srt::BlockKey;
using srt::ReplicaPlace;

constexpr u64 kSomewhere = 0x20'0000;

MachineSpec spec_with_replicas() {
  MachineSpec spec = machine_spec(1, {0});
  spec.replica_bytes = 16 * kMiB;
  spec.config.ram_places = kRamPlaces;
  return spec;
}

// As a node that carries a reset out.
void boot_again(Machine& machine) {
  const u32 next = machine.state().control.boots.load() + 1;
  const auto fresh = machine.renew_ram(next);
  ASSERT_TRUE(fresh.ok());
  ASSERT_EQ((*fresh)->load<u64>(kSomewhere).value(), 0u);
  ASSERT_TRUE((*fresh)->store(kSomewhere + 8, u64{next}).ok());  // what is loaded
  machine.state().control.boots.store(next);
}

TEST(MachineRam, EachBootBeginsWithZeroes) {
  const auto machine = make_machine(spec_with_replicas());
  const auto other = attach_again(*machine, kFirstNodeInstance);
  boot_again(*machine);
  for (u64 boot = 2; boot < 9; ++boot) {
    for (Machine* m : {machine.get(), other.get()}) {
      EXPECT_EQ(m->memory().load<u64>(kSomewhere + 8).value(), boot);
    }
    EXPECT_EQ(other->memory().load<u64>(kSomewhere).value(), 0u);
    ASSERT_TRUE(machine->memory().store(kSomewhere, boot * 100).ok());
    EXPECT_EQ(other->memory().load<u64>(kSomewhere).value(), boot * 100);
    boot_again(*machine);
  }
}

TEST(MachineRam, ThatOfTheBootBeforeIsThereUntilItIsGivenBack) {
  const auto machine = make_machine(spec_with_replicas());
  ASSERT_TRUE(machine->memory().store(kSomewhere, u64{7}).ok());
  EXPECT_EQ(machine->ram_of(1), &machine->memory());
  boot_again(*machine);
  EXPECT_EQ(machine->ram_of(1)->load<u64>(kSomewhere).value(), 7u);
  EXPECT_EQ(machine->ram_of(2), &machine->memory());
  machine->release_before(2, kSomewhere);  // not that of the boot that runs
  EXPECT_EQ(machine->memory().load<u64>(kSomewhere + 8).value(), 2u);
  machine->release_before(1, kSomewhere);
  EXPECT_EQ(machine->ram_of(1)->load<u64>(kSomewhere).value(), 0u);
  boot_again(*machine);
  EXPECT_EQ(machine->ram_of(1), nullptr);
  EXPECT_EQ(machine->ram_of(2)->load<u64>(kSomewhere + 8).value(), 2u);
}

TEST(MachineRam, WhoStillLooksAtABootThatWasMeetsWhatIsLeftOfIt) {
  const auto machine = make_machine(spec_with_replicas());
  const hyperkernel::GuestMemory& held = machine->memory();
  for (u32 i = 0; i < 7; ++i) {
    boot_again(*machine);
    EXPECT_TRUE(machine->memory().store(kSomewhere, u64{1}).ok());
    EXPECT_TRUE(held.load<u64>(kSomewhere).ok());
  }
}

TEST(MachineRam, NothingIsBeforeTheFirstBoot) {
  const auto machine = make_machine(spec_with_replicas());
  ASSERT_EQ(machine->state().control.boots.load(), 1u);
  ASSERT_TRUE(machine->memory().store(kSomewhere, u64{7}).ok());
  EXPECT_EQ(machine->ram_of(0), nullptr);
  machine->release_before(0, kSomewhere);
  EXPECT_EQ(machine->memory().load<u64>(kSomewhere).value(), 7u);
}

TEST(MachineRam, WithOnePlaceItStaysAsItIs) {
  MachineSpec spec = spec_with_replicas();
  spec.config.ram_places = 1;
  const auto machine = make_machine(spec);
  ASSERT_TRUE(machine->memory().store(kSomewhere, u64{7}).ok());
  machine->state().control.boots.store(5);
  EXPECT_EQ(machine->memory().load<u64>(kSomewhere).value(), 7u);
  EXPECT_EQ(machine->ram_of(2), &machine->memory());
}

TEST(MachineRam, WhatWasUsedFirstStaysAsFarAsTheBudgetGoes) {
  const auto machine = make_machine(spec_with_replicas());
  srt::ReplicaTable& table = *machine->replicas();
  const auto put = [&](u64 block, u16 boot) {
    const BlockKey key{1, block};
    const srt::Replica replica{{ReplicaPlace::Kind::ram, boot, block * kPageBytes}, {block, 1}};
    ASSERT_TRUE(table.put(key, replica, table.writes(key), boot));
  };
  for (u64 block = 40; block < 50; ++block) put(block, 1);
  for (u64 block = 20; block < 30; ++block) put(block, 1);
  put(60, 2);
  const auto keep = pages_with_blocks(table, machine->config().memory_bytes, 1, 12);
  for (u64 page = 0; page < 70; ++page)
    EXPECT_EQ(keep[page], (page >= 40 && page < 50) || page == 20 || page == 21) << page;
  EXPECT_FALSE(table.find({1, 25}));
  EXPECT_TRUE(table.find({1, 45}));
  EXPECT_TRUE(table.find({1, 60}));
  EXPECT_EQ(table.figures().dropped[static_cast<u32>(srt::Dropped::displaced)].load(), 8u);
}

TEST(MachineRam, OneThreadSweepsAfterAReset) {
  const auto machine = make_machine(spec_with_replicas());
  srt::ReplicaTable& table = *machine->replicas();
  const u64 kept = 0x40'0000, lost = 0x50'0000;
  const BlockKey key{1, 3};
  for (const u64 at : {kept, lost}) ASSERT_TRUE(machine->memory().store(at, u64{9}).ok());
  table.put(key, {{ReplicaPlace::Kind::ram, 1, kept}, {}}, table.writes(key), 1);
  boot_again(*machine);
  {
    ReplicaSweep sweep(*machine);
    sweep.look();
    sweep.look();
    for (u32 i = 0; i < 5000 && table.swept().load() != 2; ++i) ::usleep(1000);
  }
  EXPECT_EQ(table.swept().load(), 2u);
  EXPECT_EQ(machine->ram_of(1)->load<u64>(kept).value(), 9u);
  EXPECT_EQ(machine->ram_of(1)->load<u64>(lost).value(), 0u);
}

}  // namespace
}  // namespace dvm::vmm
