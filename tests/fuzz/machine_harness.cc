#include "tests/fuzz/machine_harness.h"

#include <fcntl.h>
#include <sys/mman.h>

namespace dvm::fuzz {

using fabric::RegionKind;
using vmm::Machine;
using vmm::MachineState;

namespace {

constexpr u64 kCanaryBytes = 16 * kPageBytes;
constexpr std::byte kCanary{0xa5};

std::span<std::byte> region(Machine& machine, RegionKind kind, u32 version) {
  return machine.pool().region(kind, version).value();
}

}  // namespace

MachineHarness::MachineHarness(u32 vcpus, u32 firmware_bytes) {
  vmm::MachineSpec spec;
  std::strcpy(spec.config.name.data(), "fuzz");
  spec.config.memory_bytes = vmm::layout::kMinMemory;
  spec.config.tsc_khz = 2'000'000;
  spec.config.vcpus = vcpus;
  spec.config.firmware_bytes = firmware_bytes;
  spec.config.watchdog = 1;
  spec.config.firmware_log = firmware_bytes == 0 ? 0 : 1;
  spec.config.nodes = 1;
  spec.config.functions[1].kind = vmm::FunctionKind::console;
  spec.config.functions[2].kind = vmm::FunctionKind::balloon;
  auto made = Machine::create(spec);
  FUZZ_CHECK(made.ok());
  machine_ = made.take();
  const auto& ram = machine_->memory().ranges().front();
  for (std::byte* at : {ram.host - kCanaryBytes, ram.host + ram.bytes}) {
    void* p = ::mmap(at, kCanaryBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == MAP_FAILED) continue;
    canaries_.emplace_back(at, kCanaryBytes);
    std::fill(canaries_.back().begin(), canaries_.back().end(), kCanary);
  }
  FUZZ_CHECK(!canaries_.empty());
  machine_->reset_devices();
  machine_->state().control.boots.store(1);
  machine_->state().control.phase.store(vmm::Phase::running);
  const auto bytes = machine_bytes();
  at_rest_.assign(bytes.begin(), bytes.end());
  fixed_ = fixed();
}

std::span<std::byte> MachineHarness::machine_bytes() const {
  return region(*machine_, RegionKind::machine, vmm::kMachineVersion);
}

void MachineHarness::reset() {
  std::memcpy(machine_bytes().data(), at_rest_.data(), at_rest_.size());
  machine_->events().tail.store(0);
  const auto frames = machine_->pool().region_header(RegionKind::frames, 1).value();
  FUZZ_CHECK(::fallocate(machine_->pool().fd().get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         static_cast<off_t>(frames.offset), static_cast<off_t>(frames.bytes)) == 0);
}

std::vector<std::byte> MachineHarness::fixed() const {
  std::vector<std::byte> all;
  const auto add = [&all](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  const MachineState& s = machine_->state();
  add(std::as_bytes(std::span(&s.config, 1)));
  add(std::as_bytes(std::span(&s.cpu, 1)));
  add(std::as_bytes(std::span(&s.entry, 1)));
  // vCPUs that the machine does not have.
  add(std::as_bytes(std::span(s.vcpus).subspan(s.config.vcpus)));
  add(region(*machine_, RegionKind::instances, fabric::kInstancesVersion));
  add(region(*machine_, RegionKind::page_directory, hyperkernel::kPageDirectoryVersion));
  std::array<std::byte, kPageBytes> header{};
  FUZZ_CHECK(machine_->pool().fd().pread_all(header, 0, "pool").ok());
  add(header);
  return all;
}

void MachineHarness::check() {
  FUZZ_CHECK(fixed() == fixed_);
  for (const auto& pages : canaries_)
    FUZZ_CHECK(std::all_of(pages.begin(), pages.end(), [](std::byte b) { return b == kCanary; }));
  const MachineState& s = machine_->state();
  for (const fabric::PoolLock* lock :
       {&s.ioapic.lock, &s.serial.lock, &s.rtc.lock, &s.pit.lock, &s.pm.lock, &s.i8042.lock,
        &s.reset_port.lock, &s.pci_address.lock, &s.host_bridge.lock, &s.pic.lock, &s.fw_cfg.lock,
        &s.debug_port.lock, &s.watchdog.lock})
    FUZZ_CHECK(lock->owner.load() == 0);
  for (u32 f = 0; f < kFunctions; ++f) {
    FUZZ_CHECK(s.functions[f].device.lock.owner.load() == 0);
    for (const auto& queue : s.functions[f].queues) {
      FUZZ_CHECK(queue.lock.owner.load() == 0);
      FUZZ_CHECK(queue.published().in_flight == 0);
    }
  }
  FUZZ_CHECK(s.control.phase.load() <= vmm::Phase::stopped);
  FUZZ_CHECK(s.console.consumed.load() <= s.serial.published().tx_count);
  const u64 moved = s.functions[1].queues[vmm::kConsoleTransmitQueue].published().moved;
  FUZZ_CHECK(moved - s.virtio_console.consumed.load() <= vmm::ConsoleOut::kBytes);
  FUZZ_CHECK(s.serial.published().tx_count - s.console.consumed.load() <= vmm::ConsoleOut::kBytes);
}

}  // namespace dvm::fuzz
