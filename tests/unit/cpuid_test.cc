// The CPU model, from what an AMD and an Intel host's KVM might offer.
#include "vmm/cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace dvm::vmm {
namespace {

using Entries = std::vector<kvm_cpuid_entry2>;

kvm_cpuid_entry2 entry(u32 function, u32 index, u32 eax, u32 ebx, u32 ecx, u32 edx) {
  kvm_cpuid_entry2 e{};
  e.function = function;
  e.index = index;
  e.eax = eax;
  e.ebx = ebx;
  e.ecx = ecx;
  e.edx = edx;
  return e;
}

constexpr u32 kMonitor = 1u << 3, kVmx = 1u << 5, kX2Apic = 1u << 21, kDeadline = 1u << 24,
              kOsxsave = 1u << 27, kHypervisor = 1u << 31, kSse3 = 1u << 0, kAes = 1u << 25;
constexpr u32 kAvx2 = 1u << 5, kBmi1 = 1u << 3, kXsave = 1u << 26, kSvm = 1u << 2, kLahf = 1u << 0;

Entries host() {
  return {entry(0x0, 0, 0x1f, 0x6874'7541, 0x444d'4163, 0x6974'6e65),
          entry(0x1, 0, 0x0080'0f12, 0xab07'0800,
                kSse3 | kAes | kMonitor | kVmx | kOsxsave | kXsave, 0xffff),
          entry(0x4, 0, 0x121, 0, 0, 0),
          entry(0x4, 3, 0x163, 0, 0, 0),
          entry(0x4, 4, 0, 0, 0, 0),
          entry(0x6, 0, 0x77, 1, 2, 3),
          entry(0x7, 0, 0, kAvx2 | kBmi1, 0, 0),
          entry(0xa, 0, 0x0730'0404, 0, 0, 0x603),
          entry(0xb, 0, 1, 2, 0x100, 99),
          entry(0x12, 0, 1, 1, 1, 1),
          entry(0x14, 0, 1, 1, 1, 1),
          entry(0x1f, 0, 1, 2, 0x100, 99),
          entry(0x4000'0000, 0, 0x4000'0001, 1, 2, 3),
          entry(0x4000'0001, 0, ~0u, 0, 0, 0),
          entry(0x8000'0000, 0, 0x8000'001f, 0, 0, 0),
          entry(0x8000'0001, 0, 0, 0, kLahf | kSvm, (1u << 29) | (1u << 9)),
          entry(0x8000'0007, 0, 0, 0, 0, 0),
          entry(0x8000'0008, 0, 0x3030, 0x1000, 0x7007, 0),
          entry(0x8000'000a, 0, 1, 1, 1, 1),
          entry(0x8000'001e, 0, 7, 7, 7, 7)};
}

const kvm_cpuid_entry2* find(const Entries& entries, u32 function, u32 index = 0) {
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& e) {
    return e.function == function && e.index == index;
  });
  return at == entries.end() ? nullptr : &*at;
}

TEST(CpuModel, HasWhatTheMachineGivesAndNotWhatItCannotKeep) {
  const Entries model = make_cpu_model(host(), 4, 2'345'678);
  const auto* one = find(model, 1);
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->ecx, kSse3 | kAes | kXsave | kX2Apic | kDeadline | kHypervisor);
  EXPECT_NE(one->edx & (1u << 28), 0u) << "HTT: more than one logical processor";
  EXPECT_EQ(find(model, 6)->eax, 4u) << "ARAT, and nothing that needs the host's MSRs";
  EXPECT_EQ(find(model, 0x8000'0007)->edx, 1u << 8) << "invariant TSC";
  EXPECT_EQ(find(model, 0x8000'0001)->ecx, kLahf) << "no SVM";
  EXPECT_EQ(find(model, 0xa)->eax, 0u) << "no PMU";
  for (const u32 gone : {0x12u, 0x14u, 0x1fu, 0x8000'000au}) EXPECT_EQ(find(model, gone), nullptr);
}

// An emulated host may offer AVX without XSAVE; a kernel that then uses it meets an invalid opcode.
TEST(CpuModel, NothingOfXsaveWithoutIt) {
  Entries offered = host();
  for (kvm_cpuid_entry2& e : offered) {
    if (e.function == 0x1) e.ecx = (e.ecx & ~kXsave) | 1u << 28;
  }
  const auto model = make_cpu_model(offered, 2, 2'000'000);
  for (const kvm_cpuid_entry2& e : model) {
    if (e.function == 0x1) {
      EXPECT_EQ(e.ecx & (1u << 28), 0u);
    }
    if (e.function == 0x7) {
      EXPECT_EQ(e.ebx, kBmi1);
    }
  }
}

TEST(CpuModel, TheHypervisorLeavesOfferTheClockAndPvEoiOnly) {
  const Entries model = make_cpu_model(host(), 2, 2'345'678);
  const auto* signature = find(model, 0x4000'0000);
  ASSERT_NE(signature, nullptr);
  EXPECT_EQ(signature->eax, 0x4000'0010u);
  EXPECT_EQ(signature->ebx, 0x4b4d'564bu);
  EXPECT_EQ(find(model, 0x4000'0001)->eax, (1u << 1) | (1u << 3) | (1u << 6) | (1u << 24));
  EXPECT_EQ(find(model, 0x4000'0010)->eax, 2'345'678u);
  EXPECT_EQ(std::count_if(model.begin(), model.end(),
                          [](const auto& e) { return e.function == 0x4000'0000; }),
            1);
}

TEST(CpuModel, EveryVcpuHasItsOwnIdWithinTheTopology) {
  for (const u32 vcpus : {1u, 2u, 3u, 16u, 64u}) {
    const Entries model = make_cpu_model(host(), vcpus, 1'000'000);
    const u32 bits = find(model, 0xb, 1)->eax;
    EXPECT_EQ(find(model, 0xb, 1)->ebx, vcpus);
    EXPECT_GE(1u << bits, vcpus);
    std::set<u32> initial, x2apic, extended;
    for (u32 id = 0; id < vcpus; ++id) {
      const Entries mine = cpuid_for_vcpu(model, id);
      initial.insert(find(mine, 1)->ebx >> 24);
      for (u32 level = 0; level < 3; ++level) EXPECT_EQ(find(mine, 0xb, level)->edx, id);
      x2apic.insert(find(mine, 0xb)->edx);
      extended.insert(find(mine, 0x8000'001e)->eax);
      EXPECT_EQ(find(mine, 1)->ebx >> 16 & 0xff, vcpus);
      EXPECT_EQ(id >> bits, 0u) << "all in one package";
    }
    EXPECT_EQ(initial.size(), vcpus);
    EXPECT_EQ(x2apic.size(), vcpus);
    EXPECT_EQ(extended.size(), vcpus);
    EXPECT_EQ(find(model, 0x8000'0008)->ecx & 0xff, vcpus - 1);
    EXPECT_GE(1u << (find(model, 0x8000'0008)->ecx >> 12 & 0xf), vcpus);
  }
}

TEST(CpuModel, CachesArePrivateBelowLevelThree) {
  const Entries model = make_cpu_model(host(), 6, 1'000'000);
  EXPECT_EQ(find(model, 4, 0)->eax >> 14 & 0xfff, 0u);
  EXPECT_EQ(find(model, 4, 3)->eax >> 14 & 0xfff, 7u);
  EXPECT_EQ(find(model, 4, 0)->eax >> 26, 7u);
  EXPECT_EQ(find(model, 4, 4)->eax, 0u) << "the end of the list stays one";
}

TEST(CpuOffers, TheSameHostAndARicherOneDo) {
  const Entries model = make_cpu_model(host(), 4, 1'000'000);
  EXPECT_TRUE(check_cpu_offers(host(), model).ok());
  Entries richer = host();
  for (auto& e : richer) {
    if (e.function == 7) e.ebx = ~0u;
  }
  EXPECT_TRUE(check_cpu_offers(richer, model).ok());
}

// Intel's CPUs have no copy of leaf 1's bits in leaf 0x80000001.
TEST(CpuOffers, AnIntelHostOffersWhatItsOwnModelNeeds) {
  Entries intel = host();
  for (auto& e : intel) {
    if (e.function == 0x8000'0001) e.edx = (1u << 29) | (1u << 20) | (1u << 11);
  }
  const Status status = check_cpu_offers(intel, make_cpu_model(intel, 4, 1'000'000));
  EXPECT_TRUE(status.ok()) << status.error().message;
}

TEST(CpuOffers, APoorerHostIsToldWhatItLacks) {
  const Entries model = make_cpu_model(host(), 4, 1'000'000);
  Entries poorer = host();
  for (auto& e : poorer) {
    if (e.function == 7) e.ebx = 0;
  }
  const Status status = check_cpu_offers(poorer, model);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("leaf 0x7.0"), std::string::npos) << status.error().message;
  EXPECT_NE(status.error().message.find("ebx 0x28"), std::string::npos) << status.error().message;
  std::erase_if(poorer, [](const auto& e) { return e.function == 7; });
  EXPECT_FALSE(check_cpu_offers(poorer, model).ok()) << "no such leaf at all";
  poorer = host();
  for (auto& e : poorer) {
    if (e.function == 1) e.ecx &= ~kAes;
  }
  EXPECT_NE(check_cpu_offers(poorer, model).error().message.find("leaf 0x1.0"), std::string::npos);
  EXPECT_FALSE(check_cpu_offers({}, model).ok());
}

}  // namespace
}  // namespace dvm::vmm
