// Threat: a guest with firmware that does whatever it likes to the ports that only such a machine
// has (fw_cfg with its DMA, 8259s, debug port, port 0x92) must not reach anything of the host's: no
// write outside its RAM, no lock left held, no crash, no hang.
//
// Input: a sequence of operations, each a byte that says which, then its operands, little-endian.
//   0 out, 1 in  place u8; size u8; value u32; count u8
//   2 dma        control u32, length u32, address u64: an access at 0x1000, then started
//   3 line       pin u8: an interrupt line goes up, or down by its high bit
//   4 processor  acknowledges the 8259s
//   5 outside    the log is read; the timers run
#include "tests/fuzz/machine_harness.h"
#include "vmm/boot/firmware.h"

namespace dvm::fuzz {
namespace {

using namespace vmm;

constexpr u64 kRunBytes = 2 * kPageBytes;
constexpr u64 kAccess = 0x1000;
constexpr std::array<u16, 9> kPorts = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x92, 0x402, 0x510, 0x514};

class Firmware {
 public:
  Firmware(MachineHarness& harness, Input& input) : machine_(harness.machine()), input_(input) {}

  void one() {
    const u8 op = input_.take<u8>();
    switch (op % 6) {
      case 0:
      case 1: return port(op % 6 == 0);
      case 2: return dma();
      case 3: {
        const u8 pin = input_.take<u8>();
        return machine_.set_line(pin % 32, 0, pin < 128);
      }
      case 4: FUZZ_CHECK(machine_.acknowledge_pic([](u8) { return Status(); }).ok()); return;
      default: return outside();
    }
  }

 private:
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(words_.data()); }
  void io(bool out, u16 port, u8 size, u32 value, u32 count) {
    auto* data = reinterpret_cast<u8*>(words_.data()) + kPageBytes;
    for (u32 i = 0; i < count; ++i) std::memcpy(data + i * size, &value, size);
    run().exit_reason = KVM_EXIT_IO;
    run().io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run().io.port = port;
    run().io.size = size;
    run().io.count = count;
    run().io.data_offset = kPageBytes;
    handle_exit(machine_, 0, run(), kRunBytes);
  }
  void port(bool out) {
    const u8 place = input_.take<u8>();
    const u16 at = static_cast<u16>(kPorts[place % kPorts.size()] + (place / 16) % 8);
    const u8 size = static_cast<u8>(1u << (input_.take<u8>() % 3));
    const u32 value = input_.take<u32>();
    io(out, at, size, value, 1u + input_.take<u8>() % 20);
  }
  void dma() {
    fw_cfg::DmaAccess access{};
    const auto bytes = input_.take_bytes(sizeof(access));
    std::memcpy(&access, bytes.data(), bytes.size());
    if (!machine_.memory().store(kAccess, access).ok()) return;
    io(true, layout::kFwCfgPort + fw_cfg::kDmaLow, 4, __builtin_bswap32(kAccess), 1);
  }
  void outside() {
    std::array<char, 512> some{};
    machine_.firmware_log_output(some);
    machine_.run_device_timers();
    machine_.next_device_deadline();
  }

  Machine& machine_;
  Input& input_;
  std::vector<u64> words_ = std::vector<u64>(kRunBytes / sizeof(u64));
};

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm::fuzz;
  static MachineHarness harness(2, dvm::vmm::kFirmwareUnit);
  harness.reset();
  Input input(data, size);
  Firmware firmware(harness, input);
  while (!input.empty()) firmware.one();
  harness.check();
  return 0;
}
