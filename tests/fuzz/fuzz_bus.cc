// Threat: a guest that does whatever it likes to ports, MMIO and MSRs, with whatever it likes in
// its memory, must not reach anything of the host's: no write outside its RAM, no change of what
// the machine is, no lock left held, no crash, no hang.
//
// Input: a sequence of operations, each a byte that says which, then its operands, little-endian.
//   0 out, 1 in      place u8, u16; size u8; value u32; count u8
//   2 write, 3 read  place u8, u32; size u8; value u64
//   4 rdmsr, 5 wrmsr which u8, u32; value u64
//   6 memory         gpa u16 (in units of 16 bytes), length u8, bytes
//   7 raw record     KVM exit reason u8, 40 bytes of kvm_run's union
//   8 driver         a virtio driver's set-up of a function (0 entropy, 1 console, 2 balloon) with
//   rings
//                    of queue q at 0x1000, 0x2000, 0x3000 + q * 0x4000; function u8, features u8
//   10 notify        function u8, queue u8
//   9 outside        what the console, the timers and a control client do
// The operation's high bits name the vCPU.
#include "tests/fuzz/machine_harness.h"
#include "vmm/irq/lapic_registers.h"
#include "vmm/pci/config_registers.h"
#include "vmm/virtio/pci_transport.h"

namespace dvm::fuzz {
namespace {

using namespace vmm;

constexpr u32 kVcpus = 3;
constexpr u64 kRunBytes = 2 * kPageBytes;
constexpr std::array<u16, 12> kPorts = {0x3f8, 0x40,  0x60,  0x64,  0x70,  0x505,
                                        0x600, 0x604, 0xcf8, 0xcf9, 0xcfc, 0x80};
constexpr std::array<u32, 6> kMsrs = {0x800, 0x830, kMsrApicBase, kMsrTscDeadline, kMsrKvmPvEoi, 0};
constexpr std::array<u8, 6> kSizes = {1, 2, 4, 8, 3, 0};

class Bus {
 public:
  Bus(MachineHarness& harness, Input& input) : machine_(harness.machine()), input_(input) {}

  void one() {
    const u8 op = input_.take<u8>();
    vcpu_ = (op >> 4) % kVcpus;
    switch (op & 0xf) {
      case 0:
      case 1: return port((op & 1) == 0);
      case 2:
      case 3: return mmio((op & 1) == 0);
      case 4:
      case 5: return msr((op & 1) != 0);
      case 6: return memory();
      case 7: return raw();
      case 8: return driver();
      case 10: return notify();
      default: return outside();
    }
  }

 private:
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(words_.data()); }
  void handle(u32 reason) {
    run().exit_reason = reason;
    handle_exit(machine_, vcpu_, run(), kRunBytes);
  }
  void port(bool out) {
    const u8 place = input_.take<u8>();
    const u16 at = input_.take<u16>();
    run().io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run().io.port = place < 240 ? static_cast<u16>(kPorts[place % kPorts.size()] + at % 8) : at;
    run().io.size = kSizes[input_.take<u8>() % 3];
    run().io.data_offset = kPageBytes;
    const u32 value = input_.take<u32>();
    run().io.count = 1u + input_.take<u8>() % 20;
    for (u64 i = 0; i < 20; ++i) std::memcpy(data() + 4 * i, &value, sizeof(value));
    handle(KVM_EXIT_IO);
  }
  u8* data() { return reinterpret_cast<u8*>(words_.data()) + kPageBytes; }
  u64 place(u8 selector, u32 at) {
    switch (selector % 8) {
      case 0: return layout::kIoApicBase + at % 0x60;
      case 1: return layout::kLocalApicBase + at % 0x400;
      case 2: return layout::kEcamBase + at % kPageBytes;
      case 3: return layout::kEcamBase + (1u << 15) + at % (kFunctions << 15);
      case 4: return layout::kPciMmioBase + at % (kFunctions * kVirtioBarBytes);
      case 5: return layout::kPciMmioBase + at % 0x40 + (at >> 8) % kFunctions * kVirtioBarBytes;
      case 6:
        return at % 2 == 0 ? layout::kEcamBase + at % layout::kEcamBytes
                           : layout::kErrorSource + at / 2 % 0x100;
      default: return static_cast<u64>(at) << (selector >> 3);
    }
  }
  void mmio(bool write) {
    const u8 selector = input_.take<u8>();
    run().mmio.phys_addr = place(selector, input_.take<u32>());
    run().mmio.len = kSizes[input_.take<u8>() % kSizes.size()];
    run().mmio.is_write = write ? 1 : 0;
    const u64 value = input_.take<u64>();
    std::memcpy(run().mmio.data, &value, sizeof(value));
    handle(KVM_EXIT_MMIO);
  }
  void msr(bool write) {
    const u32 base = kMsrs[input_.take<u8>() % kMsrs.size()];
    const u32 offset = input_.take<u32>();
    run().msr.index = base + (base == 0x800 ? offset % 0x60 : base == 0 ? offset : 0);
    run().msr.data = input_.take<u64>();
    handle(write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR);
  }
  void memory() {
    const u64 gpa = input_.take<u16>() * 16ull;
    const auto bytes = input_.take_bytes(input_.take<u8>());
    if (!bytes.empty()) FUZZ_CHECK(machine_.memory().write(gpa, std::as_bytes(bytes)).ok());
  }
  void raw() {
    const u8 reason = input_.take<u8>();
    const auto bytes = input_.take_bytes(40);
    std::memcpy(&run().io, bytes.data(), bytes.size());
    // KVM itself bounds a port record by its page, so the count is not the guest's to make large.
    handle(reason);
  }
  void config(u32 function, u16 reg, u32 size, u32 value) {
    run().mmio.phys_addr = layout::kEcamBase + (u64{function_slot(function)} << 15) + reg;
    write(size, value);
  }
  void bar(u32 function, u64 offset, u32 size, u64 value) {
    run().mmio.phys_addr = layout::kPciMmioBase + function * kVirtioBarBytes + offset;
    write(size, value);
  }
  void write(u32 size, u64 value) {
    run().mmio.len = size;
    run().mmio.is_write = 1;
    std::memcpy(run().mmio.data, &value, sizeof(value));
    handle(KVM_EXIT_MMIO);
  }
  void driver() {
    using C = virtio::CommonConfig;
    const u32 f = input_.take<u8>() % kFunctions;
    config(f, pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster);
    const u32 features = input_.take<u8>();  // indirect, event index, the device's first six
    for (const u32 status : {0u, 1u, 3u}) bar(f, offsetof(C, device_status), 1, status);
    bar(f, offsetof(C, driver_feature_select), 4, 0);
    bar(f, offsetof(C, driver_feature), 4, (features & 3) << 28 | features >> 2);
    bar(f, offsetof(C, driver_feature_select), 4, 1);
    bar(f, offsetof(C, driver_feature), 4, 1);
    bar(f, offsetof(C, device_status), 1, 11);
    for (u32 q = 0; q < kBalloonQueues; ++q) {
      bar(f, offsetof(C, queue_select), 2, q);
      bar(f, offsetof(C, queue_size), 2, 1u << (features >> 2 & 3));
      bar(f, offsetof(C, queue_desc), 8, 0x1000 + q * 0x4000);
      bar(f, offsetof(C, queue_driver), 8, 0x2000 + q * 0x4000);
      bar(f, offsetof(C, queue_device), 8, 0x3000 + q * 0x4000);
      bar(f, offsetof(C, queue_enable), 2, 1);
    }
    bar(f, offsetof(C, device_status), 1, 15);
  }
  void notify() {
    const u32 f = input_.take<u8>() % kFunctions;
    const u32 q = input_.take<u8>() % kBalloonQueues;
    bar(f, kVirtioNotifyOffset + kVirtioNotifyMultiplier * q, 2, q);
  }
  void outside() {
    std::array<char, 64> some{};
    VcpuRecord& v = machine_.state().vcpus[vcpu_];
    switch (input_.take<u8>() % 14) {
      case 0: machine_.console_output(some); break;
      case 1: machine_.console_input(some); break;
      case 2: machine_.run_device_timers(); break;
      case 3: machine_.next_device_deadline(); break;
      case 4: machine_.press_power_button(); break;
      case 5: machine_.request_pause(); break;
      case 6: machine_.request_resume(); break;
      case 7: machine_.console_output(ConsolePort::virtio, some); break;
      case 8: machine_.console_input(ConsolePort::virtio, some); break;
      case 9: machine_.request_balloon_stats(); break;
      case 10: machine_.set_balloon(input_.take<u16>() * kPageBytes); break;
      case 11: machine_.mend_devices(); break;
      case 12: machine_.report_bad_page(input_.take<u32>()); break;
      default:
        lapic_check_timer(v.lapic, v.inbox, machine_.lapic_clock());
        if (const auto vector = lapic_pending(v.lapic, v.inbox))
          lapic_accept(v.lapic, v.inbox, *vector);
    }
  }

  Machine& machine_;
  Input& input_;
  u32 vcpu_ = 0;
  std::vector<u64> words_ = std::vector<u64>(kRunBytes / sizeof(u64));
};

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm::fuzz;
  static MachineHarness harness(kVcpus);
  harness.reset();
  Input input(data, size);
  Bus bus(harness, input);
  while (!input.empty()) bus.one();
  harness.check();
  return 0;
}
