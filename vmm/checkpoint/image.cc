#include "vmm/checkpoint/image.h"

#include <cstring>

#include "vmm/ram_place.h"

namespace dvm::vmm::checkpoint {
namespace {

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}
template <typename T>
std::vector<std::byte> copy_of(const T& what) {
  return copy(std::as_bytes(std::span(&what, 1)));
}

// A section that is one T, or some of them.
template <typename T>
Status read_into(const File& file, SectionKind kind, std::span<T> to) {
  static_assert(std::is_trivially_copyable_v<T>);
  DVM_ASSIGN(const auto bytes, file.section(kind));
  if (bytes.size() != to.size_bytes()) {
    return error("{}: section {} has {} bytes, expected {}", file.name(), section_name(kind),
                 bytes.size(), to.size_bytes());
  }
  std::memcpy(static_cast<void*>(to.data()), bytes.data(), bytes.size());
  return {};
}
template <typename T>
Status read_into(const File& file, SectionKind kind, T& to) {
  return read_into(file, kind, std::span(&to, 1));
}

Status read_cpu(const File& file, Image& image) {
  DVM_ASSIGN(const auto bytes, file.section(SectionKind::cpu));
  const u64 count = bytes.size() / sizeof(kvm_cpuid_entry2);
  if (bytes.size() % sizeof(kvm_cpuid_entry2) != 0 || count == 0 ||
      count > CpuBaseline::kMaxEntries)
    return error("{}: section cpu has {} bytes", file.name(), bytes.size());
  image.cpu.resize(count);
  std::memcpy(image.cpu.data(), bytes.data(), bytes.size());
  return {};
}

Status read_guest(const File& file, Image& image) {
  GuestPart guest;
  DVM_TRY(read_into(file, SectionKind::guest, guest));
  if (guest.machine_version != kMachineVersion || guest.vcpu_version != kVcpuStateVersion) {
    return error("{}: taken by another version of dvm: machine {}, vCPUs {}; allowed: {} and {}",
                 file.name(), guest.machine_version, guest.vcpu_version, kMachineVersion,
                 kVcpuStateVersion);
  }
  GuestBank& bank = *image.bank;
  if (guest.boots == 0 || guest.boots > ~u32{0} || guest.paused > 1 ||
      guest.device_bytes > bank.devices.size() || guest.entry_mode > kLastEntryMode)
    return error("{}: section guest holds a number that is out of range", file.name());
  bank.boot = guest.boots;
  bank.guest_tsc = guest.guest_tsc;
  bank.device_bytes = guest.device_bytes;
  bank.checksum = guest.bank_checksum;
  image.clock = guest.clock;
  image.capacity = guest.capacity;
  image.paused = guest.paused != 0;
  image.entry = {static_cast<EntryMode>(guest.entry_mode), guest.entry_rip, guest.entry_data};
  return {};
}

}  // namespace

std::vector<SectionBytes> encode(const Image& image) {
  const GuestBank& bank = *image.bank;
  GuestPart guest{};
  guest.machine_version = kMachineVersion;
  guest.vcpu_version = kVcpuStateVersion;
  guest.boots = bank.boot;
  guest.guest_tsc = bank.guest_tsc;
  guest.device_bytes = bank.device_bytes;
  guest.bank_checksum = bank.checksum;
  guest.paused = image.paused ? 1 : 0;
  guest.entry_mode = static_cast<u32>(image.entry.mode);
  guest.entry_rip = image.entry.rip;
  guest.entry_data = image.entry.boot_data;
  guest.clock = image.clock;
  guest.capacity = image.capacity;
  return {
      {SectionKind::config, copy_of(image.config)},
      {SectionKind::cpu, copy(std::as_bytes(std::span(image.cpu)))},
      {SectionKind::guest, copy_of(guest)},
      {SectionKind::vcpus, copy(std::as_bytes(std::span(bank.vcpus).first(image.config.vcpus)))},
      {SectionKind::devices, copy(std::span(bank.devices).first(bank.device_bytes))},
      {SectionKind::launch, copy(std::as_bytes(std::span(image.launch)))},
      {SectionKind::disks, copy(std::as_bytes(std::span(image.disks)))},
  };
}

Result<Image> decode(const File& file) {
  Image image;
  image.bank = std::make_unique<GuestBank>();
  DVM_TRY(read_into(file, SectionKind::config, image.config));
  DVM_TRY(check_config(image.config, file.name()));
  if (file.pages() != directory_pages(image.config)) {
    return error("{}: has {} pages, and its machine {}", file.name(), file.pages(),
                 directory_pages(image.config));
  }
  DVM_TRY(read_cpu(file, image));
  DVM_TRY(read_guest(file, image));
  GuestBank& bank = *image.bank;
  DVM_TRY(read_into(file, SectionKind::vcpus, std::span(bank.vcpus).first(image.config.vcpus)));
  DVM_TRY(read_into(file, SectionKind::devices, std::span(bank.devices).first(bank.device_bytes)));
  DVM_ASSIGN(image.launch, file.text(SectionKind::launch));
  DVM_ASSIGN(image.disks, file.text(SectionKind::disks));
  return image;
}

}  // namespace dvm::vmm::checkpoint
