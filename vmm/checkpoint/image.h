// All of a guest but RAM, as a checkpoint has it. Pure.
#pragma once

#include <memory>
#include <vector>

#include "vmm/checkpoint/file.h"
#include "vmm/guest_bank.h"

namespace dvm::vmm::checkpoint {

struct GuestPart {
  u32 machine_version;  // kMachineVersion: all structs are as it has them
  u32 vcpu_version;     // kVcpuStateVersion
  u64 boots;            // GuestBank's, and so on
  u64 guest_tsc;
  u64 device_bytes;
  u32 bank_checksum;
  u32 paused;
  u32 entry_mode;  // EntryState
  u32 reserved;
  u64 entry_rip;
  u64 entry_data;
  u64 clock;  // Image::clock
  std::array<u64, kMaxFunctions> capacity;
};
static_assert(sizeof(GuestPart) == 72 + 8 * kMaxFunctions);

struct Image {
  MachineConfig config;
  std::vector<kvm_cpuid_entry2> cpu;
  EntryState entry;
  std::array<u64, kMaxFunctions> capacity{};
  bool paused = false;
  // What this host's TSC is less than the guest's, for those who go on with its clock; 0: time
  // stands still between the two.
  u64 clock = 0;
  std::unique_ptr<GuestBank> bank;
  std::string launch;  // MachineSpec::launch
  std::string disks;   // by the launcher
};

struct SectionBytes {
  SectionKind kind;
  std::vector<std::byte> bytes;
};
std::vector<SectionBytes> encode(const Image& image);
// The error says what is wrong. Whether the bank is one of this machine's is left to check_bank and
// check_vcpu_state.
Result<Image> decode(const File& file);

}  // namespace dvm::vmm::checkpoint
