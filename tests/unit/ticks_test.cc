#include "vmm/devices/ticks.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

TEST(TicksTest, NsOfTickIsTheFirstNanosecondOfThatTick) {
  for (const u64 hz : {u64{2}, u64{32'768}, u64{1'193'182}, kNsPerSecond}) {
    for (const u64 tick : {u64{0}, u64{1}, hz - 1, hz, 7 * hz + 1, 1'000'000 * hz + 3}) {
      const u64 ns = ns_of_tick(tick, hz);
      EXPECT_EQ(ticks_at(ns, hz), tick);
      if (ns > 0) {
        EXPECT_LT(ticks_at(ns - 1, hz), tick);
      }
    }
  }
}

}  // namespace
}  // namespace dvm::vmm
