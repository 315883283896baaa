#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cpuid.h>

#include <cerrno>
#include <cstring>

#include "vmm/irq/lapic_registers.h"
#include "vmm/kvm_clock.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

// kvm_cpuid2 with room for its entries: the same bytes.
constexpr u32 kCpuidEntries = 256;
struct CpuidBuffer {
  u32 nent;
  u32 padding;
  std::array<kvm_cpuid_entry2, kCpuidEntries> entries;
};
static_assert(offsetof(CpuidBuffer, entries) == sizeof(kvm_cpuid2));

// KVM's own APIC with external injection: in RAM of every guest, where no access becomes MMIO.
constexpr u64 kHiddenApicBase = 0x1000;
constexpr u32 kLint0ExtInt = 0x700;  // delivery mode ExtINT, not masked

void put_register(kvm_lapic_state& apic, u32 reg, u32 value) {
  std::memcpy(apic.regs + reg * 16, &value, sizeof(value));  // xAPIC: 16 bytes apart
}

}  // namespace

Injection host_injection() {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  return ebx == signature_INTEL_ebx ? Injection::queued : Injection::external;
}

Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name, void* argument) {
  const int r = ::ioctl(fd.get(), request, argument);
  if (r < 0) return sys_error(std::string("ioctl ") + name);
  return r;
}

Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name,
                      unsigned long argument) {
  const int r = ::ioctl(fd.get(), request, argument);
  if (r < 0) return sys_error(std::string("ioctl ") + name);
  return r;
}

Result<int> Vcpu::enter() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) return 0;
  if (errno == EINTR || errno == EAGAIN) return errno;
  return sys_error("ioctl KVM_RUN");
}

Result<kvm_regs> Vcpu::regs() const {
  kvm_regs r{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_REGS, "KVM_GET_REGS", &r));
  return r;
}

Status Vcpu::set_regs(kvm_regs regs) {
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  return {};
}

Result<kvm_sregs> Vcpu::sregs() const {
  kvm_sregs s{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_SREGS, "KVM_GET_SREGS", &s));
  if (injection_ == Injection::external) s.apic_base = apic_base_;
  return s;
}

u64 Vcpu::kvm_apic_base(u64 guest) const {
  if (injection_ == Injection::queued) return guest;
  return kHiddenApicBase | kApicBaseEnabled | (guest & kApicBaseBootstrap);
}

Status Vcpu::set_sregs(kvm_sregs sregs) {
  apic_base_ = sregs.apic_base;
  sregs.apic_base = kvm_apic_base(sregs.apic_base);
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_SREGS, "KVM_SET_SREGS", &sregs));
  return {};
}

Status Vcpu::set_cpuid(std::vector<kvm_cpuid_entry2> entries) {
  if (entries.size() > kCpuidEntries) return error("{} CPUID entries are too many", entries.size());
  CpuidBuffer buffer{};
  buffer.nent = static_cast<u32>(entries.size());
  std::copy(entries.begin(), entries.end(), buffer.entries.begin());
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_CPUID2, "KVM_SET_CPUID2", &buffer));
  return {};
}

Status Vcpu::set_tsc_offset(u64 offset) {
  kvm_device_attr attr{};
  attr.group = KVM_VCPU_TSC_CTRL;
  attr.attr = KVM_VCPU_TSC_OFFSET;
  attr.addr = reinterpret_cast<u64>(&offset);
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_DEVICE_ATTR, "KVM_SET_DEVICE_ATTR (KVM_VCPU_TSC_OFFSET)", &attr));
  return {};
}

Result<u64> Vcpu::msr(u32 index) const {
  struct {
    u32 count, padding;
    kvm_msr_entry entry;
  } one{1, 0, {index, 0, 0}};
  static_assert(offsetof(decltype(one), entry) == sizeof(kvm_msrs));
  DVM_ASSIGN(const int read, kvm_ioctl(fd_, KVM_GET_MSRS, "KVM_GET_MSRS", &one));
  if (read != 1) return error("ioctl KVM_GET_MSRS: no MSR {:#x}", index);
  return static_cast<u64>(one.entry.data);
}

Result<u64> Vcpu::tsc_khz() const {
  DVM_ASSIGN(const int khz, kvm_ioctl(fd_, KVM_GET_TSC_KHZ, "KVM_GET_TSC_KHZ"));
  return static_cast<u64>(khz);
}

Status Vcpu::inject_interrupt(u8 vector) {
  kvm_interrupt irq{vector};
  if (follows_vectors_) given_at_ = stats_.injections();
  DVM_TRY(kvm_ioctl(fd_, KVM_INTERRUPT, "KVM_INTERRUPT", &irq));
  if (injection_ == Injection::external) given_ = vector;
  return {};
}

Status Vcpu::inject_nmi() {
  DVM_TRY(kvm_ioctl(fd_, KVM_NMI, "KVM_NMI"));
  return {};
}

bool Vcpu::pre_fault(u64 gpa, u64 bytes) {
  kvm_pre_fault_memory range{};
  range.gpa = gpa;
  range.size = bytes;
  while (range.size != 0) {
    if (::ioctl(fd_.get(), KVM_PRE_FAULT_MEMORY, &range) == 0 || errno == EINTR) continue;
    return errno != EOPNOTSUPP && errno != ENOTTY;
  }
  return true;
}

// INIT and SIPI are ours: for KVM every vCPU runs from the start.
Status Vcpu::hide_apic() {
  kvm_lapic_state apic{};
  DVM_TRY(kvm_ioctl(fd_, KVM_GET_LAPIC, "KVM_GET_LAPIC", &apic));
  put_register(apic, kRegSvr, 0xff | kSvrEnabled);
  put_register(apic, kRegLvtLint0, kLint0ExtInt);
  DVM_TRY(kvm_ioctl(fd_, KVM_SET_LAPIC, "KVM_SET_LAPIC", &apic));
  return end_halt();
}

Result<Vm> Vm::create(Injection injection) {
  Vm vm;
  vm.injection_ = injection;
  DVM_ASSIGN(vm.kvm_, Fd::open("/dev/kvm", O_RDWR));
  DVM_ASSIGN(const int version, kvm_ioctl(vm.kvm_, KVM_GET_API_VERSION, "KVM_GET_API_VERSION"));
  if (version != KVM_API_VERSION)
    return error("/dev/kvm: API version {}, expected {}", version, KVM_API_VERSION);
  DVM_ASSIGN(const int fd, kvm_ioctl(vm.kvm_, KVM_CREATE_VM, "KVM_CREATE_VM", 0ul));
  vm.vm_ = Fd(fd);
  DVM_TRY(kvm_ioctl(vm.vm_, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", layout::kKvmTss));
  u64 identity = layout::kKvmIdentityMap;
  DVM_TRY(kvm_ioctl(vm.vm_, KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", &identity));
  if (injection == Injection::external) DVM_TRY(vm.split_irqchip());
  DVM_TRY(vm.enable_msr_exits());
  return vm;
}

Status Vm::split_irqchip() {
  kvm_enable_cap cap{};
  cap.cap = KVM_CAP_SPLIT_IRQCHIP;  // args[0], pins of an I/O APIC whose EOIs we want: none
  DVM_TRY(kvm_ioctl(vm_, KVM_ENABLE_CAP, "KVM_ENABLE_CAP (SPLIT_IRQCHIP)", &cap));
  return {};
}

// With no in-kernel local APIC, or one that is never in x2APIC mode, x2APIC accesses come to us as
// invalid MSRs; the others that we keep are filtered, so that KVM never answers them.
Status Vm::enable_msr_exits() {
  kvm_enable_cap cap{};
  cap.cap = KVM_CAP_X86_USER_SPACE_MSR;
  cap.args[0] =
      KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  DVM_TRY(kvm_ioctl(vm_, KVM_ENABLE_CAP, "KVM_ENABLE_CAP (X86_USER_SPACE_MSR)", &cap));

  std::array<u8, 1> deny{0};  // a clear bit: exit to user space
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  u32 used = 0;
  for (const u32 msr :
       {kMsrApicBase, kMsrTscDeadline, kMsrKvmPvEoi, kMsrKvmSystemTime, kMsrKvmWallClock}) {
    auto& range = filter.ranges[used++];
    range.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    range.base = msr;
    range.nmsrs = 1;
    range.bitmap = deny.data();
  }
  DVM_TRY(kvm_ioctl(vm_, KVM_X86_SET_MSR_FILTER, "KVM_X86_SET_MSR_FILTER", &filter));
  return {};
}

Status Vm::map_memory(const hyperkernel::GuestMemory& memory) {
  for (const auto& range : memory.ranges()) DVM_TRY(map(range, 0));
  return {};
}

Status Vm::map_rom(const hyperkernel::GuestMemory& rom, u64 bytes) {
  const u64 gpa = layout::kHighRamStart - bytes;
  DVM_ASSIGN(const auto image, rom.span(gpa, bytes));
  return map({gpa, bytes, image.data()}, KVM_MEM_READONLY);
}

Status Vm::map(const hyperkernel::RamRange& range, u32 flags) {
  kvm_userspace_memory_region region{};
  region.slot = slots_++;
  region.flags = flags;
  region.guest_phys_addr = range.gpa;
  region.memory_size = range.bytes;
  region.userspace_addr = reinterpret_cast<u64>(range.host);
  DVM_TRY(kvm_ioctl(vm_, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region));
  return {};
}

Status Vm::ioeventfd(u64 gpa, const Fd& eventfd, u32 flags) {
  kvm_ioeventfd event{};
  event.addr = gpa;
  event.len = 0;  // whatever its length (KVM_CAP_IOEVENTFD_ANY_LENGTH)
  event.fd = eventfd.get();
  event.flags = flags;
  DVM_TRY(kvm_ioctl(vm_, KVM_IOEVENTFD, "KVM_IOEVENTFD", &event));
  return {};
}

Status Vm::add_ioeventfd(u64 gpa, const Fd& eventfd) { return ioeventfd(gpa, eventfd, 0); }

Status Vm::remove_ioeventfd(u64 gpa, const Fd& eventfd) {
  return ioeventfd(gpa, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

bool Vm::offers(u32 capability) const {
  return ::ioctl(vm_.get(), KVM_CHECK_EXTENSION, capability) > 0;
}

Result<Vcpu> Vm::create_vcpu(u32 id) {
  DVM_ASSIGN(const int bytes, kvm_ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE"));
  if (static_cast<u64>(bytes) < sizeof(kvm_run))
    return error("/dev/kvm: a kvm_run of {} bytes is too small", bytes);
  DVM_ASSIGN(const int fd,
             kvm_ioctl(vm_, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", static_cast<unsigned long>(id)));
  Vcpu vcpu;
  vcpu.fd_ = Fd(fd);
  DVM_ASSIGN(vcpu.run_, Mapping::shared(vcpu.fd_, 0, static_cast<u64>(bytes), "kvm_run"));
  DVM_ASSIGN(vcpu.stats_, VcpuStats::open(vcpu.fd_));
  vcpu.injection_ = injection_;
  if (injection_ == Injection::external) DVM_TRY(vcpu.hide_apic());
  return vcpu;
}

std::optional<Vcpu> Vm::made_ahead(u32 id) {
  const auto found = ahead_.extract(id);
  if (found.empty()) return std::nullopt;
  return std::move(found.mapped());
}

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() {
  DVM_ASSIGN(const Fd kvm, Fd::open("/dev/kvm", O_RDWR));
  CpuidBuffer buffer{};
  buffer.nent = kCpuidEntries;
  DVM_TRY(kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", &buffer));
  return std::vector<kvm_cpuid_entry2>(buffer.entries.begin(),
                                       buffer.entries.begin() + buffer.nent);
}

}  // namespace dvm::vmm
