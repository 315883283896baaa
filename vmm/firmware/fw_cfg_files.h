// What the firmware configuration device offers: SeaBIOS's files, from what the machine is.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "vmm/devices/fw_cfg.h"

namespace dvm::vmm {

struct FirmwareMachine {
  u32 vcpus = 1;
  u64 memory_bytes = 0;
  bool watchdog = false;
  // Open Firmware paths of the devices to boot from, the first first
  // ("/pci@i0cf8/scsi@2/disk@0,0"); SeaBIOS src/boot.c, "Boot priority ordering". Empty: as the
  // firmware likes.
  std::vector<std::string> boot_order;
};

// That path of a virtio disk.
std::string disk_path(u8 pci_slot);

// Pure: the same in every process. An error only where the ACPI tables have one.
Result<FwCfgContents> make_fw_cfg(const FirmwareMachine& machine);

}  // namespace dvm::vmm
