#include "tools/bench/restore_bench.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>

#include "fabric/doorbell.h"
#include "fabric/mapping.h"
#include "fabric/part_file.h"
#include "vmm/checkpoint/restore.h"
#include "vmm/checkpoint/take.h"

namespace dvm::tools {
namespace {

namespace checkpoint = vmm::checkpoint;
using vmm::Machine;

constexpr u32 kVcpus = 4;
constexpr u64 kPatienceNs = 10'000'000'000;
constexpr u64 kUsedPart = 4;  // one page of so many

double us_since(u64 begin) {
  constexpr double kNsPerUs = 1000;
  return static_cast<double>(fabric::monotonic_ns() - begin) / kNsPerUs;
}

vmm::MachineSpec spec_of(u64 memory) {
  vmm::MachineSpec spec;
  std::strcpy(spec.config.name.data(), "bench");
  spec.config.memory_bytes = memory;
  spec.config.tsc_khz = 2'000'000;
  spec.config.vcpus = kVcpus;
  spec.config.nodes = 1;
  return spec;
}

Result<std::unique_ptr<Machine>> make_guest(u64 memory) {
  DVM_ASSIGN(auto machine, Machine::create(spec_of(memory)));
  machine->reset_devices();
  auto& control = machine->state().control;
  control.boots.store(1);
  control.boots_again.store(1);
  control.phase.store(vmm::Phase::running);
  vmm::CpuBaseline& cpu = machine->state().cpu;
  cpu.entries[0].function = 1;
  cpu.checksum = vmm::cpu_checksum(cpu, 1);
  cpu.count.store(1);
  std::mt19937_64 random(1);
  for (const auto& range : machine->memory().ranges()) {
    for (u64 at = 0; at < range.bytes; at += kUsedPart * kPageBytes) {
      const u64 word = random() | 1;
      std::memcpy(range.host + at, &word, sizeof word);
    }
  }
  return machine;
}

// vCPUs stand still as their threads would have it.
void stand(Machine& machine, const std::atomic<bool>& over) {
  auto& control = machine.state().control;
  u32 number = 0;
  while ((number = control.checkpoint.load()) == 0 && !over) std::this_thread::yield();
  for (u32 i = 0; i < kVcpus; ++i) {
    vmm::VcpuState& state = machine.state().vcpu_states[i];
    state.version = vmm::kVcpuStateVersion;
    state.vector = vmm::kNoWaitingVector;
    vmm::seal_vcpu_state(state, i);
    control.stands[i].store(number);
  }
}

Status save(Machine& machine, const std::string& path) {
  std::atomic<bool> over{false};
  std::thread vcpus([&] { stand(machine, over); });
  const auto still = checkpoint::StandStill::begin(machine, kPatienceNs);
  over = true;
  vcpus.join();
  if (!still.ok()) return still.error();
  DVM_ASSIGN(const auto image, checkpoint::image_of(machine, **still));
  DVM_ASSIGN(auto file, fabric::PartFile::open_unnamed(path));
  DVM_ASSIGN(const auto source, checkpoint::pages_of(machine, [](u64) { return Status(); }));
  DVM_ASSIGN(const auto written,
             checkpoint::write([&](auto bytes, u64 at) { return file.write(bytes, at); },
                               checkpoint::encode(image), source));
  return file.finish(written.header.total_bytes);
}

// The parts of it that are not holes, into memory as a pool's.
Result<double> read_all(const Fd& file) {
  const u64 begin = fabric::monotonic_ns();
  DVM_ASSIGN(const u64 bytes, file.size());
  const Fd fresh(::memfd_create("dvm-bench", MFD_CLOEXEC));
  if (!fresh.valid() || ::ftruncate(fresh.get(), static_cast<off_t>(bytes)) < 0)
    return sys_error("memfd_create");
  DVM_ASSIGN(const auto memory, Mapping::shared(fresh, 0, bytes, "fresh"));
  for (off_t at = 0; (at = ::lseek(file.get(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(file.get(), at, SEEK_HOLE);
    while (at < end) {
      const ssize_t got =
          ::pread(file.get(), memory.data() + at, static_cast<std::size_t>(end - at), at);
      if (got <= 0) return sys_error("pread");
      at += got;
    }
  }
  return us_since(begin);
}

Status one_round(u64 memory, const std::string& path, const Fd& file, RestoreSamples& samples) {
  u64 begin = fabric::monotonic_ns();
  DVM_ASSIGN(auto found, checkpoint::open_restorable(path));
  DVM_ASSIGN(const auto machine,
             checkpoint::restore_machine(found, spec_of(memory), [](u64) { return Status(); }));
  samples.launcher_us.emplace_back(us_since(begin));
  begin = fabric::monotonic_ns();
  DVM_ASSIGN(Fd pool_fd, machine->pool().fd().duplicate());
  DVM_ASSIGN(auto pool, fabric::Pool::attach(std::move(pool_fd), "bench"));
  DVM_ASSIGN(const auto node, Machine::attach(std::move(pool), vmm::kFirstNodeInstance));
  samples.node_us.emplace_back(us_since(begin));
  begin = fabric::monotonic_ns();
  DVM_ASSIGN(const u64 word, node->memory().load<u64>(memory / 2));
  samples.page_us.emplace_back(us_since(begin));
  if (word == 0) return error("the page at {:#x} is not what it was", memory / 2);
  DVM_ASSIGN(const double read_us, read_all(file));
  samples.read_us.emplace_back(read_us);
  return {};
}

}  // namespace

Series RestoreSamples::ours_us() const {
  Series sums;
  for (std::size_t i = 0; i < launcher_us.size(); ++i)
    sums.emplace_back(*launcher_us[i] + *node_us[i]);
  return sums;
}

Result<RestoreSamples> measure_restore(u64 memory, u32 rounds) {
  const Fd file(::memfd_create("dvm-bench", MFD_CLOEXEC));
  if (!file.valid()) return sys_error("memfd_create");
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  {
    DVM_ASSIGN(const auto guest, make_guest(memory));
    DVM_TRY(save(*guest, path));
  }
  RestoreSamples samples;
  for (u32 round = 0; round < rounds; ++round) DVM_TRY(one_round(memory, path, file, samples));
  return samples;
}

}  // namespace dvm::tools
