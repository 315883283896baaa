// Attaching to a machine that is at work: nothing of it is taken for damage.
#include <sys/wait.h>

#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

TEST(LivePool, AttachingSeesNoQueueHalfStepped) {
  MachineSpec spec = machine_spec(1, {0, 1});
  const auto machine = make_machine(spec);
  // The guest's queue, as a disk at full work steps it: many a step in one look's time.
  const pid_t worker = ::fork();
  if (worker == 0) {
    auto& cell = machine->state().functions[0].queues[0];
    for (u16 i = 0;; ++i) {
      publish_step(cell, [&](QueueState& q) {
        const u16 head = i / 2 % kMaxQueueSize;
        q.holder[head] = i % 2 == 0 ? 1 : 0;
        q.in_flight = i % 2 == 0 ? 1 : 0;
      });
    }
  }
  const fabric::RecordPlace place{"live", "machine", 0, &machine->state()};
  u32 refused = 0;
  for (u32 i = 0; i < 60'000; ++i) refused += check_record(machine->state(), place).ok() ? 0u : 1u;
  EXPECT_EQ(refused, 0u);
  ::kill(worker, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(worker, &status, 0), worker);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_GT(machine->state().functions[0].queues[0].version.load(), 1000u);
}

}  // namespace
}  // namespace dvm::vmm
