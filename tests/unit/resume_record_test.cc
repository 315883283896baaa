// What a machine that nobody runs any more goes on from, or why it does not.
#include "vmm/resume_record.h"

#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

class ResumeRecordTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Machine> make(Protection protection) {
    MachineSpec spec = machine_spec(2);
    spec.config.protection = protection;
    spec.launch = "as it was";
    return make_machine(spec);
  }
  // What it goes on from, or why not.
  static std::string point(const Machine& machine) {
    const auto point = resume_point(machine.state(), machine.epoch(), machine.resume_record());
    if (!point.ok()) return point.error().message;
    return *point == ResumePoint::save ? "save" : *point == ResumePoint::epoch ? "epoch" : "start";
  }
  static void fill(Machine& machine, GuestBank& bank, BankName name) {
    for (u32 i = 0; i < machine.config().vcpus; ++i) {
      bank.vcpus[i].state.version = kVcpuStateVersion;
      bank.vcpus[i].state.vector = kNoWaitingVector;
      seal_vcpu_state(bank.vcpus[i].state, i);
    }
    fill_bank(machine.state(), bank, 1, name);
  }
  // In its epoch 2.
  static std::unique_ptr<Machine> make_in_epoch() {
    auto machine = make(Protection::epoch);
    EpochRecord& epoch = *machine->epoch();
    epoch.log[0].store(4);
    fill(*machine, epoch.banks[0], {2, 4});
    epoch.word.store(EpochWord{.epoch = 2}.packed());
    return machine;
  }
};

bool says(const std::string& text, const char* what) { return text.find(what) != text.npos; }

TEST_F(ResumeRecordTest, WithoutProtectionThereIsNothing) {
  EXPECT_TRUE(says(point(*make(Protection::none)), "--protect none"));
}

TEST_F(ResumeRecordTest, WhoEndedByItselfHasEnded) {
  for (const auto& [reason, text] :
       {std::pair{StopReason::shutdown, "shut itself down"},
        std::pair{StopReason::panic, "panicked"}, std::pair{StopReason::user, "user stopped it"}}) {
    const auto machine = make_in_epoch();
    machine->request_stop(reason);
    EXPECT_TRUE(says(point(*machine), text)) << point(*machine);
  }
  for (const auto reason : {StopReason::error, StopReason::node_died, StopReason::launcher_died,
                            StopReason::power_failed}) {
    const auto machine = make_in_epoch();
    machine->request_stop(reason);
    EXPECT_EQ(point(*machine), "epoch");
  }
}

TEST_F(ResumeRecordTest, FlushGoesOnFromASaveOnly) {
  const auto machine = make(Protection::flush);
  EXPECT_TRUE(says(point(*machine), "unannounced"));
  machine->state().control.power_fails.store(1);
  EXPECT_TRUE(says(point(*machine), "before all of it was saved"));
  ResumeRecord& record = machine->resume_record();
  fill(*machine, record.bank, {});
  record.saved.store(kSavedWhole);
  EXPECT_EQ(point(*machine), "save");
  record.bank.vcpus[1].lapic.tpr ^= 1;
  EXPECT_TRUE(says(point(*machine), "checksum"));
  record.bank.vcpus[1].lapic.tpr ^= 1;
  record.bank.vcpus[1].state.regs.rip ^= 1;
  EXPECT_NE(point(*machine), "save");
}

TEST_F(ResumeRecordTest, AGuestThatWasResetBoots) {
  EXPECT_EQ(point(*make(Protection::epoch)), "start");  // no epoch has ended yet
  const auto machine = make_in_epoch();
  machine->state().control.phase.store(Phase::resetting);
  EXPECT_EQ(point(*machine), "start");
  machine->state().control.boots.store(2);
  machine->state().control.boots_again.store(2);
  machine->state().control.phase.store(Phase::running);
  EXPECT_EQ(point(*machine), "start");
  machine->state().control.boots_again.store(1);
  EXPECT_TRUE(says(point(*machine), "damaged"));
}

TEST_F(ResumeRecordTest, AnEpochHasItsOwnBeginning) {
  const auto machine = make_in_epoch();
  EXPECT_EQ(point(*machine), "epoch");
  machine->epoch()->log[0].store(6);
  EXPECT_TRUE(says(point(*machine), "epoch 2 ran"));
  machine->epoch()->log[0].store(4);
  machine->epoch()->word.store(EpochWord{.epoch = 4}.packed());
  EXPECT_TRUE(says(point(*machine), "beginning of epoch 2"));
}

TEST_F(ResumeRecordTest, HowItWasLaunchedIsKept) {
  const auto machine = make(Protection::flush);
  ResumeRecord& record = machine->resume_record();
  EXPECT_EQ(*launch_of(record), "as it was");
  record.launch[3] ^= 1;
  EXPECT_FALSE(launch_of(record).ok());
  record.launch_bytes = ~0u;
  EXPECT_FALSE(launch_of(record).ok());
}

TEST_F(ResumeRecordTest, APoolOfMemoryAloneSavesNothing) {
  const auto machine = make(Protection::flush);
  EXPECT_FALSE(machine->request_save()) << "nobody would find it";
  machine->state().control.outlives.store(1);
  EXPECT_TRUE(machine->request_save());
  EXPECT_EQ(machine->state().control.power_fails.load(), 1u);
}

}  // namespace
}  // namespace dvm::vmm
