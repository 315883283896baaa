// Named CPU models, from what hosts might offer.
#include "vmm/cpu_level.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "vmm/cpuid.h"

namespace dvm::vmm {
namespace {

using Entries = std::vector<kvm_cpuid_entry2>;

// A host that has everything, and leaves that tell of what no level has.
Entries generous() {
  Entries entries;
  const auto add = [&](u32 function, u32 index = 0) {
    kvm_cpuid_entry2 e{};
    e.function = function;
    e.index = index;
    e.eax = e.ebx = e.ecx = e.edx = ~0u;
    entries.push_back(e);
  };
  for (const u32 function :
       {0x0u,         0x1u,         0x4u,         0x6u,         0x7u,         0xau,
        0x12u,        0x14u,        0x17u,        0x19u,        0x1du,        0x1eu,
        0x24u,        0x8000'0000u, 0x8000'0001u, 0x8000'0007u, 0x8000'0008u, 0x8000'000au,
        0x8000'001fu, 0x8000'0021u, 0xc000'0001u})
    add(function);
  for (const u32 index : {1u, 2u}) add(0x7, index);
  for (const u32 index : {0u, 1u, 2u, 5u, 6u, 7u, 9u, 11u, 17u, 18u}) add(0xd, index);
  return entries;
}

kvm_cpuid_entry2* find(Entries& entries, u32 function, u32 index = 0) {
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& e) {
    return e.function == function && e.index == index;
  });
  return at == entries.end() ? nullptr : &*at;
}

TEST(CpuLevel, NamesGoBothWays) {
  for (u32 i = 0; i < kCpuLevels; ++i) {
    const auto level = static_cast<CpuLevel>(i);
    EXPECT_EQ(cpu_level_named(cpu_level_name(level)), level);
    EXPECT_FALSE(cpu_level_description(level).empty());
  }
  EXPECT_FALSE(cpu_level_named("x86-64-v4").has_value());
  EXPECT_FALSE(cpu_level_named("").has_value());
}

TEST(CpuLevel, HostIsUntouched) {
  const auto all = generous();
  const auto limited = limit_to_level(all, CpuLevel::host);
  ASSERT_EQ(limited.size(), all.size());
  EXPECT_TRUE(check_cpu_level({}, CpuLevel::host).ok());
}

TEST(CpuLevel, V2HasSse42AndNothingAbove) {
  auto v2 = limit_to_level(generous(), CpuLevel::v2);
  const auto* one = find(v2, 1);
  EXPECT_EQ(one->ecx, (1u << 0) | (1u << 9) | (1u << 13) | (1u << 19) | (1u << 20) | (1u << 21) |
                          (1u << 23) | (1u << 24) | (1u << 31));
  EXPECT_EQ(one->edx, 0x178b'fbffu);
  EXPECT_EQ(find(v2, 7)->ebx, 0u);
  EXPECT_EQ(find(v2, 7)->edx, 0u);
  EXPECT_EQ(find(v2, 0x8000'0001)->ecx, 1u);
  EXPECT_EQ(find(v2, 0x8000'0008)->ebx, 0u);
  for (const u32 gone : {0xau, 0xdu, 0x12u, 0x14u, 0x17u, 0x19u, 0x1du, 0x1eu, 0x24u, 0x8000'000au,
                         0x8000'001fu, 0x8000'0021u, 0xc000'0001u})
    EXPECT_EQ(find(v2, gone), nullptr) << std::hex << gone;
  EXPECT_EQ(find(v2, 7, 1), nullptr);
}

TEST(CpuLevel, V3HasAvx2AndItsXsaveAreaAlone) {
  auto v3 = limit_to_level(generous(), CpuLevel::v3);
  EXPECT_EQ(find(v3, 7)->ebx, (1u << 3) | (1u << 5) | (1u << 8));
  EXPECT_EQ(find(v3, 0xd)->eax, 7u);
  EXPECT_EQ(find(v3, 0xd)->ecx, 832u);
  EXPECT_EQ(find(v3, 0xd, 1)->eax, 0u);
  EXPECT_NE(find(v3, 0xd, 2), nullptr);
  EXPECT_EQ(find(v3, 0xd, 5), nullptr);  // AVX-512
  EXPECT_EQ(find(v3, 0x8000'0001)->ecx, (1u << 0) | (1u << 5));
}

TEST(CpuLevel, ALevelAppliedTwiceIsTheSame) {
  for (const auto level : {CpuLevel::v1, CpuLevel::v2, CpuLevel::v3}) {
    const auto once = limit_to_level(generous(), level);
    const auto twice = limit_to_level(once, level);
    ASSERT_EQ(once.size(), twice.size());
    EXPECT_TRUE(
        std::equal(once.begin(), once.end(), twice.begin(), [](const auto& a, const auto& b) {
          return a.function == b.function && a.eax == b.eax && a.ebx == b.ebx && a.ecx == b.ecx &&
                 a.edx == b.edx;
        }));
    EXPECT_TRUE(features_lacking(once, level).empty());
  }
}

TEST(CpuLevel, AHostThatLacksALevelIsToldWhat) {
  auto entries = generous();
  find(entries, 1)->ecx &= ~((1u << 13) | (1u << 20));
  EXPECT_TRUE(check_cpu_level(entries, CpuLevel::v1).ok());
  const auto refused = check_cpu_level(entries, CpuLevel::v2);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("x86-64-v2 needs: cx16, sse4_2"), std::string::npos)
      << refused.error().message;
  // A model limited to the level is one that hosts with just the level can run.
  const auto model = make_cpu_model(limit_to_level(generous(), CpuLevel::v2), 2, 2'000'000);
  EXPECT_TRUE(check_cpu_offers(limit_to_level(generous(), CpuLevel::v2), model).ok());
}

}  // namespace
}  // namespace dvm::vmm
