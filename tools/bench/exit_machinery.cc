#include "tools/bench/exit_machinery.h"

#include <array>
#include <cstring>
#include <memory>

#include "tools/bench/migrate_report.h"
#include "vmm/exit.h"
#include "vmm/irq/lapic_registers.h"

namespace dvm::tools {
namespace {

constexpr u32 kExits = 50'000;  // of a kind, in a round
constexpr u64 kRunBytes = 2 * kPageBytes;

// A guest's one vCPU, and the record that KVM would have left.
struct Subject {
  std::unique_ptr<vmm::Machine> machine;
  std::vector<u64> words = std::vector<u64>(kRunBytes / sizeof(u64));
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(words.data()); }
};

struct ExitKind {
  const char* name;
  void (*prepare)(Subject& subject, u32 i);  // the i-th
};

void prepare_wrmsr(kvm_run& run, u32 msr, u64 value) {
  run.exit_reason = KVM_EXIT_X86_WRMSR;
  run.msr.index = msr;
  run.msr.data = value;
}

// What a guest's tick does, and a register of a device.
constexpr std::array<ExitKind, 3> kKinds = {{
    {"deadline",
     [](Subject& s, u32 i) { prepare_wrmsr(s.run(), vmm::kMsrTscDeadline, u64{1} << 40 | i); }},
    {"eoi",
     [](Subject& s, u32) {
       s.machine->state().vcpus[0].lapic.isr[2] = 1;
       prepare_wrmsr(s.run(), vmm::kMsrX2ApicFirst + vmm::kRegEoi, 0);
     }},
    {"port",
     [](Subject& s, u32) {
       kvm_run& run = s.run();
       run.exit_reason = KVM_EXIT_IO;
       run.io.direction = KVM_EXIT_IO_IN;
       run.io.port = vmm::layout::kSerialPort + 5;  // line status
       run.io.size = 1;
       run.io.count = 1;
       run.io.data_offset = kPageBytes;
     }},
}};

Result<Subject> make_subject(vmm::Protection protection) {
  vmm::MachineSpec spec;
  std::strcpy(spec.config.name.data(), "exits");
  spec.config.memory_bytes = vmm::layout::kMinMemory;
  spec.config.tsc_khz = 2'000'000;
  spec.config.vcpus = spec.config.nodes = 1;
  spec.config.protection = protection;
  Subject subject;
  DVM_ASSIGN(subject.machine, vmm::Machine::create(spec));
  subject.machine->reset_devices();
  subject.machine->state().control.phase.store(vmm::Phase::running);
  vmm::VcpuRecord& v = subject.machine->state().vcpus[0];
  v.lapic.svr = vmm::kSvrEnabled | 0xff;
  v.lapic.mode.store(2);
  return subject;
}

double ns_an_exit(Subject& subject, const ExitKind& kind) {
  const u64 from = fabric::monotonic_ns();
  for (u32 i = 0; i < kExits; ++i) {
    kind.prepare(subject, i);
    (void)vmm::handle_exit(*subject.machine, 0, subject.run(), kRunBytes);
  }
  return static_cast<double>(fabric::monotonic_ns() - from) / kExits;
}

}  // namespace

// In turns, and the first round warms up.
Result<std::vector<BenchResult>> measure_exits(u32 rounds) {
  DVM_ASSIGN(Subject plain, make_subject(vmm::Protection::none));
  DVM_ASSIGN(Subject kept, make_subject(vmm::Protection::flush));
  std::vector<BenchResult> results;
  for (const ExitKind& kind : kKinds) {
    Series plain_ns, kept_ns;
    for (u32 i = 0; i <= rounds; ++i) {
      const double one = ns_an_exit(plain, kind), other = ns_an_exit(kept, kind);
      if (i == 0) continue;
      plain_ns.push_back(one);
      kept_ns.push_back(other);
    }
    BenchResult none, flush;
    none.name = fmt::format("recovery.exit.{}.none", kind.name);
    flush.name = fmt::format("recovery.exit.{}.flush", kind.name);
    none.unit = flush.unit = "ns";
    none.summary = summarize(present(plain_ns));
    flush.summary = summarize(present(kept_ns));
    flush.peer = "none";
    flush.peer_median = none.summary->median;
    flush.ratio = paired_ratio(kept_ns, plain_ns);
    results.push_back(std::move(none));
    results.push_back(std::move(flush));
  }
  return results;
}

}  // namespace dvm::tools
