#include "vmm/kvm_probe.h"

#include <fcntl.h>
#include <linux/stddef.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

// The flexible-array macro of Debian's kernel headers gives these arrays a size in C++, which
// changes the numbers of the ioctls that carry them (and the kernel answers EINVAL).
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <linux/kvm.h>
#pragma GCC diagnostic pop
static_assert(sizeof(kvm_msr_list) == 4 && sizeof(kvm_msrs) == 8 && sizeof(kvm_cpuid2) == 8);

namespace dvm::vmm {
namespace {

constexpr std::size_t kMemory = 0x10000;
constexpr std::uint64_t kCode = 0x8000, kTables = 0x1000, kStored = 0x9000;
constexpr std::uint16_t kPort = 0x10;
constexpr int kAnswerWithinMs = 5000;

// Adds two numbers and sends the sum to a port; the same bytes in 16 and 32 bits. The sum is made
// with SSE2, because a KVM that cannot run guests may still interpret simple instructions, and by
// them alone would look usable.
constexpr std::uint8_t kAddAndTell[] = {
    0x66, 0x0f,  0x6e, 0xc0,  // movd xmm0, eax
    0x66, 0x0f,  0x6e, 0xcb,  // movd xmm1, ebx
    0x66, 0x0f,  0xfe, 0xc1,  // paddd xmm0, xmm1
    0x66, 0x0f,  0x7e, 0xc0,  // movd eax, xmm0
    0xe7, kPort,              // out kPort, ax/eax
    0xf4,                     // hlt
};
// The same in 64 bits, with a privileged register in the sum and a store through an address that
// only paging gives.
constexpr std::uint8_t kAddInLongMode[] = {
    0x66, 0x48,  0x0f, 0x6e, 0xc0,                    // movq xmm0, rax
    0x66, 0x48,  0x0f, 0x6e, 0xcb,                    // movq xmm1, rbx
    0x66, 0x0f,  0xd4, 0xc1,                          // paddq xmm0, xmm1
    0x66, 0x48,  0x0f, 0x7e, 0xc0,                    // movq rax, xmm0
    0x0f, 0x20,  0xd9,                                // mov rcx, cr3
    0x48, 0x01,  0xc8,                                // add rax, rcx
    0x48, 0x89,  0x04, 0x25, 0x00, 0x90, 0x00, 0x40,  // mov [0x40009000], rax
    0xe7, kPort,                                      // out kPort, eax
    0xf4,                                             // hlt
};

struct Failure {
  std::string why;
};

[[noreturn]] void fail(const std::string& what, int error = 0) {
  throw Failure{error == 0 ? what : what + ": " + std::strerror(error)};
}

template <typename... Argument>
int checked_ioctl(const char* name, int fd, unsigned long request, Argument... argument) {
  const int result = ioctl(fd, request, argument...);
  if (result < 0) fail(name, errno);
  return result;
}
#define KVM_CALL(fd, request, ...) checked_ioctl(#request, fd, request __VA_OPT__(, ) __VA_ARGS__)

void* checked_map(std::size_t size, int flags, int fd) {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) fail("mmap", errno);
  return at;
}

// A VM with one vCPU and 64 KiB. Closed with the process it lives in.
struct ProbeVm {
  std::uint8_t* memory;
  int vcpu;
  kvm_run* run;
  kvm_sregs sregs{};
  kvm_regs regs{};
};

int open_kvm(const char* path) {
  const int kvm = open(path, O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail(path, errno);
  const int version = KVM_CALL(kvm, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) fail("API version " + std::to_string(version) + " instead of 12");
  return kvm;
}

void check_capabilities(int kvm) {
  constexpr std::pair<int, const char*> needed[] = {
      {KVM_CAP_USER_MEMORY, "USER_MEMORY"},
      {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
      {KVM_CAP_X86_USER_SPACE_MSR, "X86_USER_SPACE_MSR"},
      {KVM_CAP_X86_MSR_FILTER, "X86_MSR_FILTER"},
  };
  for (const auto& [number, name] : needed) {
    if (ioctl(kvm, KVM_CHECK_EXTENSION, number) <= 0) fail(std::string("no KVM_CAP_") + name);
  }
}

ProbeVm make_machine(int kvm) {
  ProbeVm machine{};
  const int vm = KVM_CALL(kvm, KVM_CREATE_VM, 0);
  ioctl(vm, KVM_SET_TSS_ADDR,
        0xfffbd000UL);  // real mode on older Intel CPUs needs it; others do not mind
  machine.memory = static_cast<std::uint8_t*>(checked_map(kMemory, MAP_SHARED | MAP_ANONYMOUS, -1));
  kvm_userspace_memory_region region{};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(machine.memory);
  KVM_CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
  machine.vcpu = KVM_CALL(vm, KVM_CREATE_VCPU, 0);
  const int run_size = KVM_CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  machine.run = static_cast<kvm_run*>(
      checked_map(static_cast<std::size_t>(run_size), MAP_SHARED, machine.vcpu));
  KVM_CALL(machine.vcpu, KVM_GET_SREGS, &machine.sregs);
  return machine;
}

std::string describe_exit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
      return "it cannot run the instructions (KVM internal error " +
             std::to_string(run.internal.suberror) + ")";
    case KVM_EXIT_SHUTDOWN: return "triple fault";
    case KVM_EXIT_FAIL_ENTRY:
      return "the CPU refused the guest (reason " +
             std::to_string(run.fail_entry.hardware_entry_failure_reason) + ")";
    default: return "unexpected exit, reason " + std::to_string(run.exit_reason);
  }
}

// Runs until the guest tells a value of `size` bytes and halts; returns the value.
std::uint64_t run_and_listen(ProbeVm& machine, std::uint8_t size) {
  machine.sregs.cr4 |= 1u << 9;  // OSFXSR: SSE on
  machine.regs.rflags = 2;
  machine.regs.rip = kCode;
  KVM_CALL(machine.vcpu, KVM_SET_SREGS, &machine.sregs);
  KVM_CALL(machine.vcpu, KVM_SET_REGS, &machine.regs);
  std::uint64_t told = 0;
  bool heard = false;
  for (int exits = 0; exits < 100; ++exits) {
    if (ioctl(machine.vcpu, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      fail("KVM_RUN", errno);
    }
    const kvm_run& run = *machine.run;
    if (run.exit_reason == KVM_EXIT_HLT && heard) return told;
    if (run.exit_reason != KVM_EXIT_IO || heard) fail(describe_exit(run));
    if (run.io.port != kPort || run.io.size != size) fail("an exit for the wrong port access");
    std::memcpy(&told, reinterpret_cast<const char*>(&run) + run.io.data_offset, size);
    heard = true;
  }
  fail("too many exits");
}

void expect(std::uint64_t got, std::uint64_t wanted) {
  if (got != wanted)
    fail("a wrong answer: " + std::to_string(got) + " instead of " + std::to_string(wanted));
}

void load_flat_segments(kvm_sregs& sregs, bool long_mode) {
  kvm_segment code{};
  code.limit = 0xffffffff;
  code.selector = 8;
  code.type = 0xb;
  code.present = code.s = code.g = 1;
  code.l = long_mode;
  code.db = !long_mode;
  kvm_segment data = code;
  data.selector = 16;
  data.type = 3;
  data.l = 0;
  data.db = 1;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
}

void run_real_mode(ProbeVm machine) {
  std::memcpy(machine.memory + kCode, kAddAndTell, sizeof kAddAndTell);
  machine.sregs.cs.base = 0;
  machine.sregs.cs.selector = 0;
  machine.regs.rax = 0x1234;
  machine.regs.rbx = 0x1111;
  expect(run_and_listen(machine, 2), 0x2345);
}

void run_protected_mode(ProbeVm machine) {
  std::memcpy(machine.memory + kCode, kAddAndTell, sizeof kAddAndTell);
  machine.sregs.cr0 |= 1;
  load_flat_segments(machine.sregs, false);
  machine.regs.rax = 0x12340000;
  machine.regs.rbx = 0x5678;
  expect(run_and_listen(machine, 4), 0x12345678);
}

void run_long_mode(ProbeVm machine) {
  std::memcpy(machine.memory + kCode, kAddInLongMode, sizeof kAddInLongMode);
  // The first 2 MiB, at 0 and again at 1 GiB.
  auto* tables = reinterpret_cast<std::uint64_t*>(machine.memory + kTables);
  tables[0] = (kTables + 0x1000) | 3;
  tables[512] = tables[513] = (kTables + 0x2000) | 3;
  tables[1024] = 0x83;
  machine.sregs.cr3 = kTables;
  machine.sregs.cr4 |= 1u << 5;              // PAE
  machine.sregs.cr0 |= 1u << 31 | 1;         // PG, PE
  machine.sregs.efer |= 1u << 8 | 1u << 10;  // LME, LMA
  load_flat_segments(machine.sregs, true);
  machine.regs.rax = 0x7700000000;
  machine.regs.rbx = 0x20;
  const std::uint64_t sum = 0x7700000020 + kTables;
  expect(run_and_listen(machine, 4), sum & 0xffffffff);
  std::uint64_t stored = 0;
  std::memcpy(&stored, machine.memory + kStored, sizeof stored);
  expect(stored, sum);
}

std::string try_everything(const char* path) {
  const char* stage = "";
  try {
    const int kvm = open_kvm(path);
    stage = "cannot create a VM: ";
    const ProbeVm real = make_machine(kvm), protected_mode = make_machine(kvm),
                  long_mode = make_machine(kvm);
    stage = "real mode: ";
    run_real_mode(real);
    stage = "protected mode: ";
    run_protected_mode(protected_mode);
    stage = "64-bit mode: ";
    run_long_mode(long_mode);
    stage = "";
    check_capabilities(kvm);
    return "";
  } catch (const Failure& failure) {
    return stage + failure.why;
  }
}

// Reads the child's answer: "!" and the reason. Nothing at all means that it died.
std::string await_answer(int from) {
  std::string answer;
  pollfd ready{from, POLLIN, 0};
  for (;;) {
    const int polled = poll(&ready, 1, kAnswerWithinMs);
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return "a guest of a few instructions did not end within 5 s";
    char buffer[512];
    const ssize_t size = read(from, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(size));
  }
  return answer.empty() ? "the process that ran the guest died" : answer.substr(1);
}

}  // namespace

// In a child, because a KVM that cannot run guests may also never return from KVM_RUN, and a child
// can be killed.
std::string probe_kvm(const char* path) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) < 0) return std::string("pipe: ") + std::strerror(errno);
  const pid_t child = fork();
  if (child < 0) {
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return std::string("fork: ") + std::strerror(errno);
  }
  if (child == 0) {
    const std::string answer = "!" + try_everything(path);
    _exit(write(pipe_ends[1], answer.data(), answer.size()) < 0);
  }
  close(pipe_ends[1]);
  std::string reason = await_answer(pipe_ends[0]);
  close(pipe_ends[0]);
  kill(child, SIGKILL);
  // One that cannot even be killed is left behind rather than waited for.
  for (int i = 0; i < 100 && waitpid(child, nullptr, WNOHANG) == 0; ++i) usleep(10'000);
  return reason;
}

}  // namespace dvm::vmm
