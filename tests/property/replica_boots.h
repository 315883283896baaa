// The guest's RAM in the replica model, of this boot and the one before.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "srt/disk_replicas.h"

namespace dvm::srt::model {

using hyperkernel::GuestMemory;

inline constexpr u64 kPages = 48;
inline constexpr u64 kBlocks = 64;
inline constexpr u32 kSectorsInBlock = 8;
inline constexpr u64 kSector = 512;
inline constexpr u16 kDisk = 3;

// What a read gives is told by its sectors' first words.
using Sector = u64;

// RAM of this boot and the one before, as the pool has it with two places for it.
class Boots final : public GuestBoots {
 public:
  Boots() {
    for (auto& bytes : bytes_) bytes.resize(kPages * kPageBytes);
    for (u32 i = 0; i < 2; ++i)
      memory_[i] = GuestMemory({{0, kPages * kPageBytes, bytes_[i].data()}});
  }
  u32 boot() const override { return boot_; }
  const GuestMemory* ram(u16 boot) const override {
    if (boot != static_cast<u16>(boot_) && boot != static_cast<u16>(boot_ - 1)) return nullptr;
    return &memory_[boot % 2];
  }
  void release(u16 boot, u64 gpa) const override {
    ASSERT_NE(boot, static_cast<u16>(boot_));
    if (gpa % kPageBytes == 0) (void)memory_[boot % 2].fill(gpa, kPageBytes, std::byte{0});
  }
  const GuestMemory& now() const { return memory_[boot_ % 2]; }
  void reset() {
    ++boot_;
    std::ranges::fill(bytes_[boot_ % 2], std::byte{0});
  }

 private:
  u32 boot_ = 1;
  std::array<std::vector<std::byte>, 2> bytes_;
  std::array<GuestMemory, 2> memory_;
};

}  // namespace dvm::srt::model
