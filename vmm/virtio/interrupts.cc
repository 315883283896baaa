#include "vmm/virtio/interrupts.h"

#include "vmm/virtio/registers.h"

namespace dvm::vmm {
namespace {

// §4.1.4.5.1: Interrupt Status is the OR of the ISR bits while MSI-X is disabled.
void update_intx(VirtioPciState& state) {
  set_interrupt_status(state.pci, state.isr != 0 && state.msix.enabled == 0);
}

}  // namespace

void virtio_raise_queue_interrupt(VirtioPciState& state, u16 queue, Effects& effects) {
  if (queue >= state.queue_count) return;
  if (state.msix.enabled != 0) {
    msix_notify(state.msix, state.queues[queue].vector, effects);
    return;
  }
  state.isr |= virtio::kIsrQueue;
  update_intx(state);
}

void virtio_raise_config_interrupt(VirtioPciState& state, Effects& effects) {
  state.isr |= virtio::kIsrConfig;  // with MSI-X too
  if (state.msix.enabled != 0) msix_notify(state.msix, state.config_vector, effects);
  update_intx(state);
}

u8 virtio_read_isr(VirtioPciState& state) {
  const u8 isr = state.isr;
  state.isr = 0;
  update_intx(state);
  return isr;
}

void virtio_sync_pci_control(VirtioPciState& state, Effects& effects) {
  const u32 control = config_read(state.pci, static_cast<u16>(state.msix_capability + 2), 2);
  const bool masked = (control & kMsixControlFunctionMask) != 0 || !bus_master(state.pci);
  msix_set_control(state.msix, (control & kMsixControlEnable) != 0, masked, effects);
  update_intx(state);
}

void virtio_drop_interrupts(VirtioPciState& state) {
  state.isr = 0;
  msix_forget_pending(state.msix);
  update_intx(state);
}

bool virtio_irq(const VirtioPciState& state) { return intx_level(state.pci); }

}  // namespace dvm::vmm
