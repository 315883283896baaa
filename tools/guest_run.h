// One guest from its first node's start to its last one's end.
#pragma once

#include <asio.hpp>
#include <memory>
#include <optional>

#include "tools/bell_watcher.h"
#include "tools/control_server.h"
#include "tools/daemon.h"
#include "tools/gdb_server.h"
#include "tools/guest_checkpoint.h"
#include "tools/guest_console.h"
#include "tools/guest_preparation.h"
#include "tools/net_supervisor.h"
#include "tools/node_requests.h"
#include "tools/node_supervisor.h"
#include "tools/warm_file.h"
#include "vmm/epoch_member.h"

namespace dvm::tools {

// What a launcher may have, and know, before it is told what to run (tools/ghost_launcher.h).
struct Beforehand {
  Ghosts ghosts;
  std::optional<HostLook> host;
};

class GuestRun final : private NodeControl {
 public:
  // Signals are held for run() from here on. `daemon`: what this process is, if it is one.
  explicit GuestRun(Beforehand& beforehand, Daemon* daemon = nullptr);
  // Returns dvm-run's exit code when the guest has ended and all its nodes with it.
  Result<int> run(const RunSettings& settings, GoesOnFrom from = {});

 private:
  Status start(const RunSettings& settings);
  NodeLaunch node_launch();
  Result<u32> add_node() override;
  ControlReach control_reach();
  void start_watchers();
  void start_warm_file(const std::string& path);
  std::optional<u64> look_for_start();
  void finish();
  bool keeps_pool();
  void tell_resumption();
  void tell_restoration();
  void await_signal();
  void on_signal(int signal);
  void on_keys(KeyCommand command);
  std::optional<u64> look_at_phase();
  std::optional<u64> look_at_events();
  void drain_firmware_log();

  vmm::Machine& machine() { return *guest_->machine; }

  // In the order of their making; each may use those above it.
  Beforehand& beforehand_;
  Daemon* const daemon_;
  asio::io_context io_;
  asio::signal_set signals_;
  std::optional<PreparedGuest> guest_;
  Fd lifeline_;  // the write end: its end tells the nodes that we are gone
  Fd lifeline_end_;
  std::unique_ptr<vmm::EpochMember> epochs_;  // with epochs
  std::unique_ptr<GuestConsole> console_;
  std::unique_ptr<GuestConsole> hvc_;  // if the guest has a virtio console
  std::unique_ptr<GdbServer> gdb_;
  std::optional<NetSupervisor> network_;
  LastCheckpoint checkpoints_;
  std::optional<WarmFile> warm_;  // with --srt-warm
  std::optional<NodeSupervisor> nodes_;
  std::unique_ptr<ControlServer> control_;
  std::optional<BellWatcher> phase_watcher_, event_watcher_, console_watcher_, hvc_watcher_;
  u64 last_event_ = 0;         // event watcher's
  bool stop_posted_ = false;   // phase watcher's
  bool started_said_ = false;  // phase watcher's
  bool asked_to_end_ = false;
};

}  // namespace dvm::tools
