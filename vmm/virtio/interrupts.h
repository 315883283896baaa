// How a virtio-pci function interrupts: by MSI-X when the driver enabled it, else by INTx and the
// ISR status register (virtio 1.2 §4.1.4.5, §4.1.5.1.2, §4.1.5.3, §4.1.5.4).
#pragma once

#include "vmm/effects.h"
#include "vmm/virtio/pci_state.h"

namespace dvm::vmm {

void virtio_raise_queue_interrupt(VirtioPciState& state, u16 queue, Effects& effects);
void virtio_raise_config_interrupt(VirtioPciState& state, Effects& effects);
// Reading acknowledges: the status is zero and INTx low afterwards (§4.1.4.5.1).
u8 virtio_read_isr(VirtioPciState& state);
// After the config space was written: MSI-X control and bus mastership may have changed.
void virtio_sync_pci_control(VirtioPciState& state, Effects& effects);
// Forgets everything not yet delivered (§2.4.1: no notifications until initialized again).
void virtio_drop_interrupts(VirtioPciState& state);
// The level of the function's INTx pin; compare it with the line after every step.
bool virtio_irq(const VirtioPciState& state);

}  // namespace dvm::vmm
