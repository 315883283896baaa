// The bus: from ports and physical addresses to device steps. Nothing here knows KVM.
#include <bit>

#include "vmm/devices/pvpanic.h"
#include "vmm/irq/lapic_registers.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

constexpr u64 all_ones(u8 size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

constexpr bool in(u64 value, u64 first, u64 count) {
  return value >= first && value - first < count;
}

}  // namespace

VcpuSet Machine::post_msi(const Msi& msi) {
  // The guest chose the address: only the local APICs' range is an interrupt (§11.11.1).
  if (msi.address >> 20 != layout::kLocalApicBase >> 20) return 0;
  return post_message(decode_msi(msi), std::nullopt);
}

VcpuSet Machine::post_msis(const Effects& effects) {
  VcpuSet changed = 0;
  for (u8 i = 0; i < effects.msi_count; ++i) changed |= post_msi(effects.msi[i]);
  return changed;
}

// After the step, whose answer it is: done again when the vCPU died before it.
void Machine::apply(PowerRequest request) {
  switch (request) {
    case PowerRequest::none: break;
    case PowerRequest::reset: request_reset(); break;
    case PowerRequest::panic: guest_panicked(PanicCause::pvpanic); break;
    case PowerRequest::shutdown:
      log_event(fabric::EventKind::guest_shutdown);
      request_stop(StopReason::shutdown);
      break;
  }
}

// --- ports -------------------------------------------------------------------------------------

u32 Machine::port_read(u16 port, u8 size) {
  next_operation();
  const auto pci_address = [&] {
    return look(state_->pci_address, [](const PciConfigAddress& s) { return s.value; });
  };
  if (in(port, layout::kPciDataPort, 4)) {
    const auto at =
        decode_config_ports(pci_address(), static_cast<u8>(port - layout::kPciDataPort));
    return at ? pci_config_read(*at, size) : static_cast<u32>(all_ones(size));
  }
  if (port == layout::kPciAddressPort && size == 4) return pci_address();
  if (in(port, layout::kPmEventPort, acpi_pm::kBytes)) {
    const u16 offset = static_cast<u16>(port - layout::kPmEventPort);
    return step(state_->pm, kSciLine, acpi_irq,
                [&](AcpiPmState& s) { return acpi_pm_read(s, offset, size); });
  }
  if (config().watchdog != 0 && in(port, layout::kWatchdogPort, watchdog::kBytes))
    return watchdog_port_read(static_cast<u16>(port - layout::kWatchdogPort), size);
  if (const auto value = firmware_port_read(port, size)) return *value;
  u32 value = 0;  // every other device has 8-bit registers: wider accesses are split, as on ISA
  for (u8 i = 0; i < size; ++i) value |= port_read_byte(static_cast<u16>(port + i)) << (8 * i);
  return value;
}

void Machine::port_write(u16 port, u8 size, u32 value) {
  next_operation();
  if (in(port, layout::kPciDataPort, 4)) {
    const u32 address =
        look(state_->pci_address, [](const PciConfigAddress& s) { return s.value; });
    const auto at = decode_config_ports(address, static_cast<u8>(port - layout::kPciDataPort));
    if (at) pci_config_write(*at, size, value);
    return;
  }
  if (port == layout::kPciAddressPort && size == 4) {
    step(state_->pci_address,
         [&](PciConfigAddress& s) { s.value = value & kConfigAddressWritable; });
    return;
  }
  if (in(port, layout::kPmEventPort, acpi_pm::kBytes)) {
    const u16 offset = static_cast<u16>(port - layout::kPmEventPort);
    return apply(step(state_->pm, kSciLine, acpi_irq, [&](AcpiPmState& s) {
      Effects effects;
      acpi_pm_write(s, offset, size, value, effects);
      return effects.power;
    }));
  }
  if (config().watchdog != 0 && in(port, layout::kWatchdogPort, watchdog::kBytes))
    return watchdog_port_write(static_cast<u16>(port - layout::kWatchdogPort), size, value);
  if (firmware_port_write(port, size, value)) return;
  for (u8 i = 0; i < size; ++i)
    port_write_byte(static_cast<u16>(port + i), static_cast<u8>(value >> (8 * i)));
}

u32 Machine::port_read_byte(u16 port) {
  next_operation();
  if (in(port, layout::kSerialPort, 8))
    return serial_port_read(static_cast<u16>(port - layout::kSerialPort));
  if (in(port, layout::kPitPort, 4)) {
    return step_pit(
        [&](PitState& s) { return pit_read(s, static_cast<u16>(port - layout::kPitPort), env()); });
  }
  if (in(port, layout::kRtcPort, 2)) {
    return step(state_->rtc, kRtcLine, rtc_irq, [&](RtcState& s) {
      return rtc_read(s, static_cast<u16>(port - layout::kRtcPort), env());
    });
  }
  switch (port) {
    case layout::kPortB: return step_pit([&](const PitState& s) { return portb_read(s, env()); });
    case layout::kI8042Data:
    case layout::kI8042Command:
      return step(state_->i8042, [&](I8042State& s) {
        return i8042_read(s, static_cast<u16>(port - layout::kI8042Data));
      });
    case layout::kPvpanicPort: return pvpanic_read();
    case layout::kResetPort: return look(state_->reset_port, reset_port_read);
    default: return firmware_port_read_byte(port);
  }
}

void Machine::port_write_byte(u16 port, u8 value) {
  next_operation();
  if (in(port, layout::kSerialPort, 8))
    return serial_port_write(static_cast<u16>(port - layout::kSerialPort), value);
  if (in(port, layout::kPitPort, 4)) {
    step_pit([&](PitState& s) {
      pit_write(s, static_cast<u16>(port - layout::kPitPort), value, env());
    });
    return wake_timer_node();
  }
  if (in(port, layout::kRtcPort, 2)) {
    step(state_->rtc, kRtcLine, rtc_irq, [&](RtcState& s) {
      rtc_write(s, static_cast<u16>(port - layout::kRtcPort), value, env());
    });
    return port == layout::kRtcPort ? void() : wake_timer_node();
  }
  switch (port) {
    case layout::kPortB: return step_pit([&](PitState& s) { portb_write(s, value, env()); });
    case layout::kI8042Data:
    case layout::kI8042Command:
      return apply(step(state_->i8042, [&](I8042State& s) {
        Effects effects;
        i8042_write(s, static_cast<u16>(port - layout::kI8042Data), value, effects);
        return effects.power;
      }));
    case layout::kPvpanicPort: {
      Effects effects;
      pvpanic_write(value, effects);
      return apply(effects.power);
    }
    case layout::kResetPort:
      return apply(step(state_->reset_port, [&](ResetPortState& s) {
        Effects effects;
        reset_port_write(s, value, effects);
        return effects.power;
      }));
    default: return firmware_port_write_byte(port, value);
  }
}

// --- PCI configuration -------------------------------------------------------------------------

u32 Machine::pci_config_read(const ConfigAddress& at, u8 size) {
  if (at.bus == 0 && at.function == 0) {
    if (at.device == 0)
      return step(state_->host_bridge,
                  [&](ConfigSpace& s) { return config_read(s, at.reg, size); });
    if (const auto function = function_in_slot(at.device)) {
      // With its line: a capability reaches the BAR, and there the ISR.
      return read_function(*function,
                           [&](VirtioPciState& s) { return virtio_config_read(s, at.reg, size); });
    }
  }
  return static_cast<u32>(all_ones(size));
}

void Machine::pci_config_write(const ConfigAddress& at, u8 size, u32 value) {
  if (at.bus != 0 || at.function != 0) return;
  if (at.device == 0)
    step(state_->host_bridge, [&](ConfigSpace& s) { config_write(s, at.reg, size, value); });
  if (const auto function = function_in_slot(at.device)) {
    write_function(*function, [&](VirtioPciState& s, Effects& effects) {
      return virtio_config_write(s, at.reg, size, value, effects);
    });
    wait_for_ioeventfds(*function);
  }
}

// --- memory-mapped registers ---------------------------------------------------------------------

u64 Machine::mmio_read(u32 vcpu, u64 address, u8 size) {
  next_operation();
  if (in(address, layout::kLocalApicBase, kPageBytes))
    return lapic_mmio_read(vcpu, address - layout::kLocalApicBase, size);
  if (in(address, layout::kIoApicBase, kPageBytes)) {
    return read_ioapic(
        [&](const IoApicState& s) { return ioapic_read(s, address - layout::kIoApicBase); });
  }
  if (in(address, layout::kEcamBase, layout::kEcamBytes)) {
    return size <= 4 ? pci_config_read(decode_ecam(address - layout::kEcamBase), size)
                     : all_ones(size);
  }
  if (in(address, layout::kErrorSource, kPageBytes)) {
    return step(state_->error_source, kErrorSourceLine, error_source_irq,
                [&](const ErrorSourceState& s) {
                  return error_source_read(s, address - layout::kErrorSource, size);
                });
  }
  if (in(address, layout::kGenerationId, kPageBytes)) {
    return step(state_->generation, kGenerationLine, generation_id_irq, [&](GenerationIdState& s) {
      return generation_id_read(s, address - layout::kGenerationId, size);
    });
  }
  const auto function = function_at(address);
  if (!function) return all_ones(size);
  const u64 offset = address - state_->functions[*function].bar.load(std::memory_order_relaxed);
  return read_function(
      *function, [&](VirtioPciState& s) { return virtio_bar_read(s, kVirtioBar, offset, size); });
}

void Machine::mmio_write(u32 vcpu, u64 address, u8 size, u64 value) {
  next_operation();
  if (in(address, layout::kLocalApicBase, kPageBytes)) {
    return lapic_mmio_write(vcpu, address - layout::kLocalApicBase, size, value);
  }
  if (in(address, layout::kIoApicBase, kPageBytes)) {
    const VcpuSet changed = step_ioapic([&](IoApicState& s) {
      return ioapic_write(s, address - layout::kIoApicBase, static_cast<u32>(value));
    });
    kick_all(changed, std::nullopt);
    // Unmasking the PIT's pin may make its next edge one that somebody hears.
    if (step_pit([](const PitState& s) { return s.channels[0].counting; })) wake_timer_node();
    return;
  }
  if (in(address, layout::kEcamBase, layout::kEcamBytes)) {
    if (size <= 4)
      pci_config_write(decode_ecam(address - layout::kEcamBase), size, static_cast<u32>(value));
    return;
  }
  if (in(address, layout::kErrorSource, kPageBytes)) {
    return step(state_->error_source, kErrorSourceLine, error_source_irq, [&](ErrorSourceState& s) {
      error_source_write(s, address - layout::kErrorSource, size, value);
    });
  }
  const auto function = function_at(address);
  if (!function) return;
  const u64 offset = address - state_->functions[*function].bar.load(std::memory_order_relaxed);
  if (const auto queue = virtio_notified_queue(offset)) {
    return serve_notified(*function, *queue, false);
  }
  write_function(*function, [&](VirtioPciState& s, Effects& effects) {
    return virtio_bar_write(s, kVirtioBar, offset, size, value, effects);
  });
}

// xAPIC registers are 32 bits at multiples of 16 (Intel SDM vol. 3A §11.4.1); with the APIC in
// x2APIC mode or off, the window is not decoded.
u64 Machine::lapic_mmio_read(u32 vcpu, u64 offset, u8 size) {
  VcpuRecord& v = state_->vcpus[vcpu];
  if (v.lapic.mode.load() != 1 || size != 4 || offset % 16 != 0 || offset >= 0x400)
    return all_ones(size);
  return lapic_read(v.lapic, v.inbox, static_cast<u32>(offset / 16), lapic_clock()).value;
}

void Machine::lapic_mmio_write(u32 vcpu, u64 offset, u8 size, u64 value) {
  VcpuRecord& v = state_->vcpus[vcpu];
  if (v.lapic.mode.load() != 1 || size != 4 || offset % 16 != 0 || offset >= 0x400) return;
  carry_out(lapic_write(v.lapic, v.inbox, static_cast<u32>(offset / 16), value, lapic_clock()),
            vcpu);
}

}  // namespace dvm::vmm
