#include "vmm/kvm/vcpu_stats.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

Result<VcpuStats> VcpuStats::open(const Fd& vcpu) {
  VcpuStats stats;
  const int fd = ::ioctl(vcpu.get(), KVM_GET_STATS_FD, nullptr);
  if (fd < 0) return sys_error("ioctl KVM_GET_STATS_FD");
  stats.fd_ = Fd(fd);
  kvm_stats_header header{};
  DVM_TRY(
      stats.fd_.pread_all(std::as_writable_bytes(std::span(&header, 1)), 0, "KVM's statistics"));
  constexpr u32 kMostNameBytes = 256, kMostStats = 1024;
  if (header.name_size > kMostNameBytes || header.num_desc > kMostStats)
    return error("KVM's statistics: {} with names of {} bytes", header.num_desc, header.name_size);
  const u64 bytes = sizeof(kvm_stats_desc) + header.name_size;
  std::vector<std::byte> all(header.num_desc * bytes);
  DVM_TRY(stats.fd_.pread_all(all, header.desc_offset, "KVM's statistics"));
  for (u32 i = 0; i < header.num_desc; ++i) {
    const auto& desc = *reinterpret_cast<const kvm_stats_desc*>(&all[i * bytes]);
    const char* const text = reinterpret_cast<const char*>(&desc + 1);
    const std::string_view name(text, ::strnlen(text, header.name_size));
    if (name == "halt_exits") stats.halts_at_ = header.data_offset + desc.offset;
    if (name == "irq_injections") stats.injections_at_ = header.data_offset + desc.offset;
    if (name == "blocking") stats.blocking_at_ = header.data_offset + desc.offset;
  }
  return stats;
}

u64 VcpuStats::value(u64 at) const {
  u64 value = 0;
  if (at == 0 || ::pread(fd_.get(), &value, sizeof(value), static_cast<off_t>(at)) != sizeof(value))
    return 0;
  return value;
}

}  // namespace dvm::vmm
