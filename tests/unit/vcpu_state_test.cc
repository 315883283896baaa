#include "vmm/vcpu_state.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>

#include "tests/unit/test_machine.h"

namespace dvm::vmm {
namespace {

std::unique_ptr<VcpuState> make_state(u32 msrs, u32 parts = kPartXsave) {
  auto state = std::make_unique<VcpuState>();
  state->injection = 1;
  state->parts = parts;
  state->fpu.fill(0xee);
  state->vector = kNoWaitingVector;
  state->regs.rip = 0x1234;
  state->msr_count = msrs;
  for (u32 i = 0; i < msrs; ++i) state->msrs[i] = {0x100 + i, 0, i};
  seal_vcpu_state(*state, 3);
  return state;
}

TEST(VcpuState, WhatWasSealedIsTaken) {
  for (const u32 msrs : {0u, 1u, 77u, kMaxStateMsrs})
    EXPECT_TRUE(check_vcpu_state(*make_state(msrs), 3, 1).ok()) << msrs;
}

TEST(VcpuState, OneForAnotherVcpuOrAnotherKindOfHostIsRefused) {
  const auto state = make_state(5);
  EXPECT_NE(check_vcpu_state(*state, 2, 1).error().message.find("it is vCPU 3's"),
            std::string::npos);
  EXPECT_NE(check_vcpu_state(*state, 3, 0).error().message.find("injection"), std::string::npos);
}

TEST(VcpuState, AnyBitThatChangesIsSeen) {
  const auto good = make_state(20);
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    auto bad = std::make_unique<VcpuState>(*good);
    const u32 bit = static_cast<u32>(random() % (good->bytes * 8));
    reinterpret_cast<u8*>(bad.get())[bit / 8] ^= static_cast<u8>(1u << bit % 8);
    EXPECT_FALSE(check_vcpu_state(*bad, 3, 1).ok()) << "bit " << bit;
  }
}

TEST(VcpuState, ACopyOfWhatMeansSomethingIsWhole) {
  for (const u32 parts : {0u, kPartXsave}) {
    const auto good = make_state(20, parts);
    VcpuState copy;
    std::memset(&copy, 0x55, sizeof(copy));
    copy_meaningful(*good, copy);
    EXPECT_TRUE(check_vcpu_state(copy, 3, 1).ok()) << parts;
    EXPECT_EQ(copy.fpu.back(), parts == 0 ? 0x55 : 0xee) << "is used with XSAVE only";
  }
  const auto bad = make_state(20);
  bad->msr_count = ~0u;  // not followed out of the copy
  VcpuState copy;
  copy_meaningful(*bad, copy);
  EXPECT_FALSE(check_vcpu_state(copy, 3, 1).ok());
}

TEST(VcpuState, CountsOutOfRangeAreNotFollowed) {
  auto state = make_state(20);
  state->msr_count = ~0u;
  EXPECT_FALSE(check_vcpu_state(*state, 3, 1).ok());
  state = make_state(20);
  state->bytes = ~0u;
  EXPECT_FALSE(check_vcpu_state(*state, 3, 1).ok());
  state = make_state(20);
  state->vector = kNoWaitingVector + 1;
  seal_vcpu_state(*state, 3);
  EXPECT_FALSE(check_vcpu_state(*state, 3, 1).ok());
}

}  // namespace
}  // namespace dvm::vmm
