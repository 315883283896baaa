// Threat: whoever reaches the socket of --gdb, and a guest whose page tables and registers are what
// it likes. gdb may do anything to the guest, and nothing to the host.
//
// Input: bytes as they come from the socket. Before, the guest's: cr0, cr3, cr4, efer u64 each, and
// what lies at guest-physical 0x1000, its length a u16.
#include "tests/fuzz/machine_harness.h"
#include "tools/gdb_packet.h"
#include "tools/gdb_stub.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  static fuzz::MachineHarness harness(2);
  harness.reset();
  vmm::Machine& machine = harness.machine();
  fuzz::Input input(data, size);
  for (u32 v = 0; v < 2; ++v) {
    vmm::VcpuRecord& vcpu = machine.state().vcpus[v];
    vcpu.run_state.store(vmm::VcpuRunState::parked);
    vcpu.image.saved = 1;
    machine.state().debug_vcpus[v].step.store(0);
  }
  kvm_sregs& s = machine.state().vcpus[0].image.sregs;
  s.cr0 = input.take<u64>();
  s.cr3 = input.take<u64>();
  s.cr4 = input.take<u64>();
  s.efer = input.take<u64>();
  const auto tables = input.take_bytes(input.take<u16>());
  if (!tables.empty()) FUZZ_CHECK(machine.memory().write(0x1000, std::as_bytes(tables)).ok());
  machine.state().control.phase.store(vmm::Phase::paused);
  tools::DebuggedMachine debugged(machine);
  tools::GdbStub stub(debugged);
  debugged.attach();
  tools::GdbPackets packets;
  while (!input.empty()) {
    const auto bytes = input.take_bytes(64);
    packets.received({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    while (const auto item = packets.next()) {
      if (item->kind != tools::GdbPackets::Kind::packet) continue;
      // A step waits for a vCPU, of which there is none.
      if (item->text.find('s') != std::string::npos && !item->text.starts_with("q")) continue;
      const auto answer = stub.handle(item->text);
      if (answer.reply)
        FUZZ_CHECK(tools::GdbPackets::frame(*answer.reply).size() <=
                   2 * tools::GdbPackets::kMaxPacket);
    }
  }
  debugged.detach();
  for (const auto& at : machine.state().debug.software) FUZZ_CHECK(at.load() == vmm::kNoBreakpoint);
  harness.check();
  return 0;
}
