// A machine with firmware: its ports reached by exits, its interrupts by LINT0, its image and log.
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/machine_fixture.h"
#include "vmm/boot/firmware.h"

namespace dvm::vmm::testing {
namespace {

std::unique_ptr<Machine> with_firmware(u32 log = 1) {
  MachineSpec spec = machine_spec(2);
  spec.config.firmware_bytes = 4 * kFirmwareUnit;
  spec.config.firmware_log = log;
  return make_machine(spec);
}

void open_pic(FakeExits& cpu) {
  cpu.out(layout::kPicPort, 1, 0x11);
  for (const u32 value : {0x08u, 0x04u, 0x01u, 0x00u}) cpu.out(layout::kPicPort + 1, 1, value);
}

TEST(MachineFirmware, without_it_its_ports_are_not_there) {
  const auto machine = make_machine(machine_spec(1));
  FakeExits cpu(*machine);
  for (const int port : {0x21, 0xa1, 0x92, 0x402, 0x4d0, 0x511})
    EXPECT_EQ(cpu.in(static_cast<u16>(port), 1), 0xffu);
  EXPECT_EQ(machine->state().vcpus[0].lapic.mode.load(), 2u);
  cpu.out(layout::kPortA, 1, 1);
  EXPECT_EQ(machine->state().control.phase.load(), Phase::running);
}

TEST(MachineFirmware, starts_in_xapic_mode_and_tells_what_it_is) {
  const auto machine = with_firmware();
  FakeExits cpu(*machine);
  EXPECT_EQ(machine->state().vcpus[0].lapic.mode.load(), 1u);
  cpu.out(layout::kFwCfgPort, 2, fw_cfg::kSignature);
  EXPECT_EQ(cpu.in(layout::kFwCfgPort + 1, 1), u32{'Q'});
  EXPECT_EQ(cpu.in(layout::kPortA, 1), 2u);
  cpu.out(layout::kRtcPort, 1, 0x5f);
  EXPECT_EQ(cpu.in(layout::kRtcPort + 1, 1), 1u) << "CPUs beside the first";
}

TEST(MachineFirmware, a_line_reaches_the_bootstrap_vcpu_by_lint0_alone) {
  const auto machine = with_firmware();
  FakeExits cpu(*machine);
  VcpuRecord& v = machine->state().vcpus[0];
  open_pic(cpu);
  machine->set_line(layout::kSerialGsi, 0, true);
  EXPECT_EQ(v.inbox.ext_int.load(), 1u);
  EXPECT_EQ(machine->state().vcpus[1].inbox.ext_int.load(), 0u);
  EXPECT_FALSE(lapic_takes_ext_int(v.lapic, v.inbox)) << "LINT0 is masked after reset";
  enable_lapic(v);
  cpu.mmio_write(layout::kLocalApicBase + 0x350, 4, 0x8700);
  ASSERT_TRUE(lapic_takes_ext_int(v.lapic, v.inbox));
  u8 vector = 0;
  const auto inject = [&](u8 given) { return vector = given, Status(); };
  EXPECT_TRUE(machine->acknowledge_pic(inject).ok());
  EXPECT_EQ(vector, 0x0c);
  EXPECT_EQ(v.inbox.ext_int.load(), 0u);
  vector = 0;
  EXPECT_TRUE(machine->acknowledge_pic(inject).ok());
  EXPECT_EQ(vector, 0) << "nothing waits";
}

TEST(MachineFirmware, the_timer_is_served_for_whoever_hears_it) {
  const auto machine = with_firmware();
  FakeExits cpu(*machine);
  cpu.out(layout::kPitPort + 3, 1, 0x34);
  cpu.out(layout::kPitPort, 1, 0);
  cpu.out(layout::kPitPort, 1, 0);
  EXPECT_FALSE(machine->next_device_deadline().has_value()) << "masked at both controllers";
  open_pic(cpu);
  EXPECT_TRUE(machine->next_device_deadline().has_value());
}

TEST(MachineFirmware, the_log_is_kept_bounded_and_off_unless_asked_for) {
  const auto machine = with_firmware();
  FakeExits cpu(*machine);
  EXPECT_EQ(cpu.in(layout::kDebugPort, 1), 0xe9u);
  cpu.out_string(layout::kDebugPort, "hello\n");
  std::array<char, 64> text{};
  ASSERT_EQ(machine->firmware_log_output(text), 6u);
  EXPECT_EQ(std::string_view(text.data(), 6), "hello\n");
  EXPECT_EQ(machine->firmware_log_output(text), 0u);
  const std::string line(1024, 'x');
  for (u64 sent = 0; sent < 2 * FirmwareLog::kBytes; sent += line.size())
    cpu.out_string(layout::kDebugPort, line);
  EXPECT_EQ(machine->state().debug_port.published().lost, FirmwareLog::kBytes);
  u64 kept = 0;
  while (const auto n = machine->firmware_log_output(text)) kept += n;
  EXPECT_EQ(kept, FirmwareLog::kBytes);
  const auto quiet = with_firmware(0);
  FakeExits other(*quiet);
  EXPECT_EQ(other.in(layout::kDebugPort, 1), 0xffu);
}

TEST(MachineFirmware, the_image_is_loaded_twice_and_again_at_a_reset) {
  const auto machine = with_firmware();
  const u64 bytes = machine->config().firmware_bytes;
  Fd file(::memfd_create("bios", 0));
  std::vector<u8> image(bytes);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<u8>(i * 7 + i / 251);
  ASSERT_EQ(::write(file.get(), image.data(), image.size()), static_cast<ssize_t>(bytes));
  for (int boot = 0; boot < 2; ++boot) {
    ASSERT_TRUE(machine->memory().fill(0xc0000, 0x40000, std::byte{0xee}).ok());
    const auto entry = load_firmware(file, "bios", machine->memory(), machine->rom());
    ASSERT_TRUE(entry.ok());
    EXPECT_EQ(entry->mode, EntryMode::reset);
    const auto high = machine->rom().span(layout::kHighRamStart - bytes, bytes).value();
    EXPECT_EQ(std::memcmp(high.data(), image.data(), bytes), 0);
    const auto low = machine->memory().span(0xe0000, 0x20000).value();
    EXPECT_EQ(std::memcmp(low.data(), image.data() + bytes - 0x20000, 0x20000), 0);
    EXPECT_EQ(machine->memory().load<u64>(0xc0000).value(), 0u);
  }
  EXPECT_FALSE(machine->memory().span(layout::kHighRamStart - bytes, 1).ok())
      << "no device reaches it";
  kvm_sregs sregs{};
  kvm_regs regs{};
  const EntryState start{EntryMode::reset, layout::kResetVector, 0};
  fill_entry_sregs(start, sregs);
  fill_entry_regs(start, regs);
  EXPECT_EQ(sregs.cs.base + regs.rip, layout::kResetVector);
  EXPECT_EQ(sregs.cs.selector, 0xf000);
}

TEST(MachineFirmware, an_image_of_no_allowed_size_is_refused) {
  for (const long bytes : {1L, 100'000L, 2L * 1024 * 1024}) {
    Fd file(::memfd_create("bios", 0));
    ASSERT_EQ(::ftruncate(file.get(), bytes), 0);
    const auto checked = check_firmware(file, "b");
    ASSERT_FALSE(checked.ok());
    EXPECT_NE(checked.error().message.find("64 KiB"), std::string::npos);
  }
}

}  // namespace
}  // namespace dvm::vmm::testing
