#include "vmm/epoch_output.h"

#include "vmm/epoch_record.h"
#include "vmm/net/net_device.h"

namespace dvm::vmm {

void release_output(Machine& machine) {
  MachineState& s = machine.state();
  EpochRecord& record = *machine.epoch();
  record.output_waits.store(0);
  record.serial_out.store(s.serial.published().tx_count);
  record.firmware_out.store(s.debug_port.published().written);
  if (const auto console = find_function(s.config.functions, FunctionKind::console))
    record.virtio_out.store(s.functions[*console].queues[kConsoleTransmitQueue].published().moved);
  if (const auto net = find_net_function(s.config)) NetDevice(machine, *net).release_offered();
  fabric::ring(s.console.produced);
  fabric::ring(s.virtio_console.produced);
}

}  // namespace dvm::vmm
