// What measuring costs costs.
#include "migration/cost_probe.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "hyperkernel/fault_cost.h"
#include "tests/unit/machine_fixture.h"

namespace dvm::migration {
namespace {

u64 bytes_backed(vmm::Machine& machine) {
  struct stat st {};
  EXPECT_EQ(::fstat(machine.pool().fd().get(), &st), 0);
  return static_cast<u64>(st.st_blocks) * 512;
}

// The undo log is larger than RAM, and takes no memory before something is saved in it.
TEST(CostProbe, ThePoolIsNotFilledByBeingMeasured) {
  auto spec = vmm::testing::machine_spec(1, {0});
  spec.config.protection = vmm::Protection::epoch;
  const auto machine = vmm::testing::make_machine(spec);
  const u64 before = bytes_backed(*machine);
  EXPECT_GT(measure_costs(*machine).region_ns, 0);
  EXPECT_LE(bytes_backed(*machine) - before, 10 * kMiB);
}

TEST(CostProbe, AFaultCostsSomeCopies) {
  const u32 copies = hyperkernel::copies_for_a_fault();
  EXPECT_GE(copies, 8u);
  EXPECT_LE(copies, 200u);
}

}  // namespace
}  // namespace dvm::migration
