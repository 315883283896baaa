// A machine in an anonymous pool, and KVM's part played by hand: exits are fabricated, so the whole
// path from an exit record to the pool is run without KVM.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "vmm/exit.h"
#include "vmm/irq/lapic_registers.h"

namespace dvm::vmm::testing {

inline constexpr u64 kTestMemory = layout::kMinMemory;

inline MachineSpec machine_spec(u32 vcpus, std::vector<u16> placement = {}) {
  MachineSpec spec;
  std::strcpy(spec.config.name.data(), "test");
  spec.config.memory_bytes = kTestMemory;
  spec.config.tsc_khz = 2'000'000;
  spec.config.vcpus = vcpus;
  spec.config.nodes = 1;
  for (std::size_t i = 0; i < placement.size(); ++i) {
    spec.placement[i] = placement[i];
    spec.config.nodes = std::max<u32>(spec.config.nodes, placement[i] + 1u);
  }
  return spec;
}

// As the reset leaves it, but with nobody running the vCPUs.
inline std::unique_ptr<Machine> make_machine(const MachineSpec& spec) {
  auto made = Machine::create(spec);
  EXPECT_TRUE(made.ok()) << made.error().message;
  if (!made.ok()) return nullptr;
  (*made)->reset_devices();
  (*made)->state().control.boots.store(1);
  (*made)->state().control.boots_again.store(1);
  (*made)->state().control.phase.store(Phase::running);
  return made.take();
}

// Another process's handle: the pool by a descriptor of its own.
inline std::unique_ptr<Machine> attach_again(Machine& machine, u32 instance) {
  auto fd = machine.pool().fd().duplicate();
  auto pool = fabric::Pool::attach(fd.take(), "again");
  auto attached = Machine::attach(pool.take(), instance);
  EXPECT_TRUE(attached.ok()) << attached.error().message;
  return attached.take();
}

// One vCPU's exits. The record is as large as KVM's: the structure, then a page of port data.
class FakeExits {
 public:
  static constexpr u64 kDataOffset = kPageBytes;
  static constexpr u64 kRunBytes = 3 * kPageBytes;

  explicit FakeExits(Machine& machine, u32 vcpu = 0)
      : machine_(machine), vcpu_(vcpu), words_(kRunBytes / sizeof(u64)) {}

  kvm_run& run() { return *reinterpret_cast<kvm_run*>(words_.data()); }
  u8* data() { return reinterpret_cast<u8*>(words_.data()) + kDataOffset; }
  ExitResult handle(u32 reason) {
    run().exit_reason = reason;
    return handle_exit(machine_, vcpu_, run(), kRunBytes);
  }

  ExitResult io(bool out, u16 port, u8 size, u32 count, u64 offset = kDataOffset) {
    run().io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run().io.port = port;
    run().io.size = size;
    run().io.count = count;
    run().io.data_offset = offset;
    return handle(KVM_EXIT_IO);
  }
  void out(u16 port, u8 size, u32 value) {
    std::memcpy(data(), &value, size);
    EXPECT_EQ(io(true, port, size, 1).outcome, ExitOutcome::go_on);
  }
  void out_string(u16 port, std::string_view text) {
    std::memcpy(data(), text.data(), text.size());
    EXPECT_EQ(io(true, port, 1, static_cast<u32>(text.size())).outcome, ExitOutcome::go_on);
  }
  u32 in(u16 port, u8 size) {
    std::memset(data(), 0x5a, sizeof(u32));
    EXPECT_EQ(io(false, port, size, 1).outcome, ExitOutcome::go_on);
    u32 value = 0;
    std::memcpy(&value, data(), size);
    return value;
  }

  void mmio_write(u64 address, u32 size, u64 value) {
    run().mmio.phys_addr = address;
    run().mmio.len = size;
    run().mmio.is_write = 1;
    std::memcpy(run().mmio.data, &value, sizeof(value));
    EXPECT_EQ(handle(KVM_EXIT_MMIO).outcome, ExitOutcome::go_on);
  }
  u64 mmio_read(u64 address, u32 size) {
    run().mmio.phys_addr = address;
    run().mmio.len = size;
    run().mmio.is_write = 0;
    std::memset(run().mmio.data, 0, sizeof(run().mmio.data));
    EXPECT_EQ(handle(KVM_EXIT_MMIO).outcome, ExitOutcome::go_on);
    u64 value = 0;
    std::memcpy(&value, run().mmio.data, sizeof(value));
    return value;
  }

  // False: the guest would get #GP.
  bool wrmsr(u32 msr, u64 value, ExitOutcome expected = ExitOutcome::go_on) {
    run().msr.index = msr;
    run().msr.data = value;
    const ExitResult result = handle(KVM_EXIT_X86_WRMSR);
    EXPECT_EQ(result.outcome, run().msr.error == 0 ? expected : ExitOutcome::go_on);
    return run().msr.error == 0;
  }
  bool rdmsr(u32 msr, u64& value) {
    run().msr.index = msr;
    run().msr.data = 0;
    EXPECT_EQ(handle(KVM_EXIT_X86_RDMSR).outcome, ExitOutcome::go_on);
    value = run().msr.data;
    return run().msr.error == 0;
  }

 private:
  Machine& machine_;
  u32 vcpu_;
  std::vector<u64> words_;
};

// The local APIC switched on, as a kernel does first.
inline void enable_lapic(VcpuRecord& v) { v.lapic.svr = kSvrEnabled | 0xff; }

inline bool requested(const Machine& machine, u32 vcpu, u8 vector) {
  return (machine.state().vcpus[vcpu].inbox.irr[vector / 32].load() >> (vector % 32) & 1) != 0;
}

// The vCPUs whose IRR has `vector`.
inline std::vector<u32> receivers(const Machine& machine, u8 vector) {
  std::vector<u32> found;
  for (u32 i = 0; i < machine.config().vcpus; ++i) {
    if (requested(machine, i, vector)) found.push_back(i);
  }
  return found;
}

// Redirection entry of a pin: `low` as in the 82093AA's data sheet, to APIC id `destination`.
inline void route(FakeExits& cpu, u8 pin, u32 low, u8 destination = 0) {
  cpu.mmio_write(layout::kIoApicBase, 4, 0x11u + 2u * pin);
  cpu.mmio_write(layout::kIoApicBase + 0x10, 4, static_cast<u32>(destination) << 24);
  cpu.mmio_write(layout::kIoApicBase, 4, 0x10u + 2u * pin);
  cpu.mmio_write(layout::kIoApicBase + 0x10, 4, low);
}
inline constexpr u32 kRouteLevel = 1u << 15;

}  // namespace dvm::vmm::testing
