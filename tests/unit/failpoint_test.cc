#include "fabric/failpoint.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace dvm::fabric {
namespace {

class FailpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* p = ::mmap(nullptr, sizeof(FaultTable), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    table_ = static_cast<FaultTable*>(p);
    watch_faults(table_, 3);
  }
  void TearDown() override {
    watch_faults(nullptr, ~0u);
    on_fault_fired(nullptr);
    ::munmap(table_, sizeof(FaultTable));
  }
  FaultTable* table_ = nullptr;
};

TEST_F(FailpointTest, TheKthHitOfItsPointKillsTheProcess) {
  ASSERT_TRUE(arm_fault(*table_, "lock.taken", FaultAction::kill, 2, ~0u, 0));
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < 3; ++i) {
      failpoint("lock.released");
      failpoint("lock.taken");
      if (i < 2) table_->reserved[0] = static_cast<u32>(i + 1);
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(table_->reserved[0], 2u);
  EXPECT_EQ(table_->armed.load(), 0u) << "a fault fires once";
}

TEST_F(FailpointTest, FiresOnlyInTheInstanceItIsMeantFor) {
  int fired = 0;
  on_fault_fired([&](const ArmedFault& f) { fired += f.milliseconds == 1 ? 1 : 100; });
  ASSERT_TRUE(arm_fault(*table_, "p", FaultAction::sleep, 0, 4, 1));
  failpoint("p");
  EXPECT_EQ(fired, 0);
  watch_faults(table_, 4);
  failpoint("p");
  failpoint("p");
  EXPECT_EQ(fired, 1);
}

TEST_F(FailpointTest, NamesThatDoNotFitAndAFullTableAreRefused) {
  EXPECT_FALSE(arm_fault(*table_, std::string(40, 'x'), FaultAction::kill, 0, ~0u, 0));
  EXPECT_FALSE(arm_fault(*table_, "", FaultAction::kill, 0, ~0u, 0));
  for (u32 i = 0; i < FaultTable::kFaults; ++i)
    ASSERT_TRUE(arm_fault(*table_, "p", FaultAction::hang, 9, ~0u, 0));
  EXPECT_FALSE(arm_fault(*table_, "p", FaultAction::kill, 0, ~0u, 0));
}

}  // namespace
}  // namespace dvm::fabric
