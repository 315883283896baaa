// Guest state into a bank and back.
#include "vmm/guest_bank.h"

#include "tests/unit/machine_fixture.h"
#include "vmm/all_cells.h"
#include "vmm/epoch_record.h"

namespace dvm::vmm {
namespace {

using namespace testing;

MachineSpec protected_spec() {
  MachineSpec spec = machine_spec(2, {0, 1});
  spec.config.protection = Protection::epoch;
  return spec;
}

TEST(GuestBank, PutsBackDevicesInboxesAndApics) {
  const auto machine = make_machine(protected_spec());
  MachineState& s = machine->state();
  GuestBank& bank = machine->epoch()->banks[0];
  machine->port_write(0x3f8 + 7, 1, 0x5a);  // the serial port's scratch register
  s.vcpus[1].inbox.irr[2].store(0x80);
  s.vcpus[1].lapic.tpr = 0x30;
  s.vcpus[1].started.store(1);
  fill_bank(s, bank, 1);
  machine->port_write(0x3f8 + 7, 1, 0x11);
  machine->port_write(0x3f8, 1, 'x');
  s.vcpus[1].inbox.irr[2].store(0);
  s.vcpus[1].inbox.signals.store(7);
  s.vcpus[1].lapic.tpr = 0;
  ASSERT_TRUE(check_bank(s, bank).ok());
  for (int i = 0; i < 2; ++i) {  // who restores may die in it
    const AllCells cells(*machine);
    restore_bank(s, bank, 3);
  }
  EXPECT_EQ(machine->port_read(0x3f8 + 7, 1), 0x5au);
  EXPECT_EQ(s.serial.published().tx_count, 0u);
  EXPECT_EQ(s.vcpus[1].inbox.irr[2].load(), 0x80u);
  EXPECT_EQ(s.vcpus[1].inbox.signals.load(), 0u);
  EXPECT_EQ(s.vcpus[1].lapic.tpr, 0x30u);
}

TEST(GuestBank, WhatWasInHandIsTheDeadOnes) {
  const auto machine = make_machine(protected_spec());
  MachineState& s = machine->state();
  GuestBank& bank = machine->epoch()->banks[1];
  publish_step(s.functions[0].queues[0], [](QueueState& q) {
    q.holder[4] = 1 + kFirstNodeInstance;
    q.in_flight = 1;
  });
  fill_bank(s, bank, 1);
  publish_step(s.functions[0].queues[0], [](QueueState& q) { q = {}; });
  restore_bank(s, bank, 9);
  EXPECT_EQ(s.functions[0].queues[0].published().holder[4], 9);
  EXPECT_EQ(s.functions[0].queues[0].published().in_flight, 1);
}

TEST(GuestBank, ADamagedOneIsRefused) {
  const auto machine = make_machine(protected_spec());
  GuestBank& bank = machine->epoch()->banks[0];
  EXPECT_FALSE(check_bank(machine->state(), bank).ok());  // never filled
  fill_bank(machine->state(), bank, 1);
  EXPECT_TRUE(check_bank(machine->state(), bank).ok());
  bank.devices[100] ^= std::byte{1};
  EXPECT_FALSE(check_bank(machine->state(), bank).ok());
  bank.device_bytes = ~u64{0};
  EXPECT_FALSE(check_bank(machine->state(), bank).ok());
}

// The serial port's bytes of an epoch that has not ended stay where they are.
TEST(GuestBank, OutputWaitsForTheEpochsEnd) {
  const auto machine = make_machine(protected_spec());
  machine->port_write(0x3f8, 1, 'a');
  std::array<char, 8> got{};
  EXPECT_EQ(machine->console_output(got), 0u);
  machine->epoch()->serial_out.store(1);
  machine->port_write(0x3f8, 1, 'b');
  EXPECT_EQ(machine->console_output(got), 1u);
  EXPECT_EQ(got[0], 'a');
  machine->request_stop(StopReason::user);  // no way back from there
  EXPECT_EQ(machine->console_output(got), 1u);
}

}  // namespace
}  // namespace dvm::vmm
