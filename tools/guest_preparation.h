// All that is checked and made before the first node starts, in the order in which a user wants to
// hear what is wrong: own words, files, this machine, the name, memory.
#pragma once

#include <memory>
#include <optional>

#include "fabric/awake_processors.h"
#include "tools/disk_launch.h"
#include "tools/event_file.h"
#include "tools/host_look.h"
#include "tools/run_settings.h"
#include "tools/runtime_dir.h"
#include "vmm/boot/loader.h"
#include "vmm/checkpoint/restore.h"
#include "vmm/machine_resume.h"

namespace dvm::tools {

// A tap interface's queues, and the eventfd by which its reader is woken. Nodes inherit them.
struct PreparedTap {
  std::vector<Fd> queues;
  Fd wake;
};

// What a guest goes on from; neither: it begins.
struct GoesOnFrom {
  std::optional<vmm::ResumablePool> pool;
  std::optional<vmm::checkpoint::Restorable> checkpoint;
};

struct PreparedGuest {
  std::string node_program;
  vmm::BootSource boot;
  GuestFolder folder;
  std::optional<EventFile> events;
  std::optional<Fd> firmware_log;
  GuestDisks disks;
  std::unique_ptr<vmm::Machine> machine;
  std::optional<PreparedTap> tap;
  std::optional<fabric::AwakeProcessors> awake;
  // What it came from; its pages may come still.
  std::optional<vmm::checkpoint::Restorable> checkpoint;

  // Of a guest that runs on beside it (tools/guest_fork.h).
  bool is_clone() const { return checkpoint && checkpoint->image.clock != 0; }
};

// After an error nothing is left behind.
// What `from` names stays as it is.
// `host`: what was found out about it before.
Result<PreparedGuest> prepare_guest(const RunSettings& settings, GoesOnFrom from = {},
                                    std::optional<HostLook> host = {});
// The kernel and initrd, or the firmware, opened and found fit for this guest.
Result<vmm::BootSource> open_boot_source(const RunSettings& settings);
// Function 0 is the entropy device.
inline constexpr u32 kFirstDiskFunction = 1;
// "demo: 4 vCPUs on 2 nodes, 512 MiB, pool memfd"
std::string describe_guest(const RunSettings& settings);

}  // namespace dvm::tools
