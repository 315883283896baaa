#include "tools/guest_run.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <thread>

#include "fabric/partition.h"
#include "tools/event_text.h"
#include "tools/exit_code.h"
#include "tools/message.h"
#include "tools/page_summary.h"

namespace dvm::tools {

using vmm::Phase;
using vmm::StopReason;

namespace {

int exit_code_for(StopReason reason) {
  switch (reason) {
    case StopReason::shutdown:
    case StopReason::user:
    case StopReason::power_failed: return kExitOk;
    case StopReason::panic: return kExitPanic;
    default: return kExitError;
  }
}

constexpr std::chrono::milliseconds kAddLook{2};

struct Pipe {
  Fd read, write;
};

// A tap interface's queues, and last its eventfd.
std::vector<int> tap_descriptors(const PreparedTap& tap) {
  std::vector<int> descriptors;
  for (const Fd& queue : tap.queues) descriptors.push_back(queue.get());
  descriptors.push_back(tap.wake.get());
  return descriptors;
}

std::vector<std::string> more_arguments(const PreparedGuest& guest) {
  auto words = guest.disks.node_arguments(kFirstDiskFunction);
  if (guest.tap) {
    words.push_back("--tap-fds");
    words.push_back(fmt::format("{}", fmt::join(tap_descriptors(*guest.tap), ",")));
  }
  return words;
}

std::vector<int> more_descriptors(const PreparedGuest& guest) {
  auto descriptors = guest.disks.node_descriptors();
  if (guest.tap) {
    const auto tap = tap_descriptors(*guest.tap);
    descriptors.insert(descriptors.end(), tap.begin(), tap.end());
  }
  return descriptors;
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return sys_error("pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

GuestRun::GuestRun(Beforehand& beforehand, Daemon* daemon)
    : beforehand_(beforehand), daemon_(daemon), signals_(io_, SIGINT, SIGTERM, SIGHUP) {
  signals_.add(SIGCONT);
  signals_.add(SIGPWR);
  signals_.add(SIGWINCH);
  ::signal(SIGPIPE, SIG_IGN);
  // Giving the terminal back must not stop us when a shell has put us in the background meanwhile.
  ::signal(SIGTTOU, SIG_IGN);
}

Result<int> GuestRun::run(const RunSettings& settings, GoesOnFrom from) {
  DVM_ASSIGN(auto prepared, prepare_guest(settings, std::move(from), beforehand_.host));
  guest_.emplace(std::move(prepared));
  if (guest_->checkpoint && !guest_->is_clone())
    checkpoints_.taken(guest_->checkpoint->file.name());
  if (daemon_ != nullptr) DVM_TRY(daemon_->keep_log(guest_->folder.path()));
  const Status started = start(settings);
  if (started.ok()) {
    await_signal();
    io_.run();
  }
  finish();
  DVM_TRY(started);
  return exit_code_for(machine().state().control.stop_reason.load());
}

Status GuestRun::start(const RunSettings& settings) {
  // What is typed into the virtio console lands in guest memory.
  if (machine().epoch() != nullptr) {
    DVM_ASSIGN(epochs_, vmm::EpochMember::join(machine(), {}));
  }
  DVM_ASSIGN(console_, GuestConsole::open(machine(), settings.serial));
  if (settings.console.present) {
    DVM_ASSIGN(hvc_,
               GuestConsole::open(machine(), settings.console.where, vmm::ConsolePort::virtio));
  }
  if (settings.gdb) {
    DVM_ASSIGN(gdb_, GdbServer::start(machine(), *settings.gdb));
  }
  say("{}", describe_guest(settings));
  tell_resumption();
  if (settings.net && settings.net->kind == NetKind::user) {
    network_.emplace(io_, machine(), beforehand_.ghosts, net_text(*settings.net));
    DVM_TRY(network_->start());
  }
  DVM_ASSIGN(control_,
             ControlServer::start(machine(), control_reach(), guest_->folder.socket_path()));
  if (settings.srt_warm) start_warm_file(*settings.srt_warm);
  DVM_TRY(console_->read_stdin([this](KeyCommand c) { on_keys(c); }));
  if (hvc_) DVM_TRY(hvc_->read_stdin([this](KeyCommand c) { on_keys(c); }));
  DVM_ASSIGN(Pipe pipe, make_pipe());
  lifeline_ = std::move(pipe.write);
  lifeline_end_ = std::move(pipe.read);
  nodes_.emplace(io_, machine(), node_launch(), [this] { io_.stop(); });
  DVM_TRY(nodes_->start(settings.nodes));
  start_watchers();
  fabric::watch_partition(&machine().faults().cut, machine().self().id);
  return {};
}

// A guest that goes on has what it wants in its pool.
void GuestRun::start_warm_file(const std::string& path) {
  if (machine().replicas() == nullptr) return;
  if (machine().state().control.resumed.load() == 0) WarmFile::load(path, machine(), guest_->disks);
  warm_.emplace(path, machine(), guest_->disks);
}

NodeLaunch GuestRun::node_launch() {
  NodeLaunch launch{guest_->node_program,
                    machine().pool().fd(),
                    machine().pool().name(),
                    guest_->boot,
                    beforehand_.ghosts,
                    lifeline_end_,
                    more_arguments(*guest_),
                    more_descriptors(*guest_),
                    {}};
  if (guest_->disks.any_server())
    launch.restart_servers = [this] { return guest_->disks.restart_servers(); };
  return launch;
}

// Asked on the control socket's thread; processes are started and collected on this one's.
Result<u32> GuestRun::add_node() {
  const auto promise = std::make_shared<std::promise<Result<u32>>>();
  auto answer = promise->get_future();
  asio::post(io_, [this, promise] {
    promise->set_value(nodes_ ? nodes_->add() : Result<u32>(error("the guest has stopped")));
  });
  const auto& state = machine().state();
  while (answer.wait_for(kAddLook) != std::future_status::ready) {
    if (state.control.phase.load() == Phase::stopped) return error("the guest has stopped");
  }
  DVM_ASSIGN(const u32 node, answer.get());
  const auto& stage = state.nodes[node].stage;
  while (stage.load() == vmm::NodeStage::starting) {
    if (state.control.phase.load() == Phase::stopped) return error("the guest has stopped");
    std::this_thread::sleep_for(kAddLook);
  }
  if (stage.load() == vmm::NodeStage::none)
    return error("node {} could not start, and says why on the stderr of dvm-run", node);
  return node;
}

ControlReach GuestRun::control_reach() {
  ControlReach reach{console_->ends(), std::nullopt, {&guest_->disks, this, &checkpoints_}};
  if (hvc_) reach.virtio.emplace(hvc_->ends());
  return reach;
}

void GuestRun::start_watchers() {
  vmm::MachineState& state = machine().state();
  phase_watcher_.emplace(state.control.changed, [this] { return look_at_phase(); });
  event_watcher_.emplace(machine().events().written, [this] { return look_at_events(); });
  console_watcher_.emplace(state.console.produced, [this] {
    drain_firmware_log();
    return console_->look([this] { control_->console_fed(); });
  });
  if (hvc_) {
    hvc_watcher_.emplace(state.virtio_console.produced,
                         [this] { return hvc_->look([this] { control_->console_fed(); }); });
  }
}

// Stops what was started, last first, and lets the guest's last words out.
void GuestRun::finish() {
  fabric::watch_partition(nullptr, 0);
  if (machine().state().control.phase.load() != Phase::stopped)
    machine().request_stop(StopReason::error);
  gdb_.reset();
  nodes_.reset();
  network_.reset();
  lifeline_.reset();
  if (console_) console_->give_up();
  if (hvc_) hvc_->give_up();
  console_watcher_.reset();
  hvc_watcher_.reset();
  drain_firmware_log();
  event_watcher_.reset();
  phase_watcher_.reset();
  control_.reset();
  hvc_.reset();
  console_.reset();
  if (const auto pages = page_summary(machine()))
    say("{}: {}", machine().config().name.data(), summary_text(*pages));
  if (!keeps_pool()) machine().pool().unlink();
  warm_.reset();  // last: when the power fails, the rest is in a hurry
}

void GuestRun::await_signal() {
  signals_.async_wait([this](const asio::error_code& failure, int signal) {
    if (failure) return;
    on_signal(signal);
    await_signal();
  });
}

void GuestRun::on_signal(int signal) {
  if (signal == SIGCONT) {
    if (console_) console_->enter_terminal_again();
    if (hvc_) hvc_->enter_terminal_again();
    return;
  }
  if (signal == SIGPWR) {
    if (!machine().request_save())
      say("the power fails, and nothing of the guest would be found again (--pool FILE and "
          "--protect)");
    return;
  }
  if (signal == SIGWINCH) {
    if (hvc_) hvc_->tell_size();
    return;
  }
  const auto& control = machine().state().control;
  if (asked_to_end_ || control.boots.load() == 0) return machine().request_stop(StopReason::user);
  asked_to_end_ = true;
  say("{}asking the guest to shut down; again to stop it",
      control.phase.load() == Phase::paused ? "the guest is paused: " : "");
  machine().press_power_button();
}

void GuestRun::on_keys(KeyCommand command) {
  if (command == KeyCommand::quit) return machine().request_stop(StopReason::user);
  if (command == KeyCommand::help) say_lines("dvm-run", kKeyHelp);
  GuestConsole& typed_on = hvc_ && hvc_->on_terminal() ? *hvc_ : *console_;
  if (command == KeyCommand::size) typed_on.ends().typed.type(window_size_command());
}

std::optional<u64> GuestRun::look_at_phase() {
  if (!stop_posted_ && machine().state().control.phase.load() == Phase::stopped) {
    stop_posted_ = true;
    asio::post(io_, [this] { nodes_->machine_stopped(); });
  }
  return daemon_ != nullptr && !started_said_ ? look_for_start() : std::nullopt;
}

// What can keep a guest from running shows before its first vCPU has a thread.
std::optional<u64> GuestRun::look_for_start() {
  constexpr u64 kLookAgainNs = 5'000'000;
  const auto& state = machine().state();
  const Phase phase = state.control.phase.load();
  if (phase == Phase::stopped || state.control.boots.load() == 0) return std::nullopt;
  if (phase == Phase::running && state.vcpus[0].run_state.load() == vmm::VcpuRunState::absent)
    return fabric::monotonic_ns() + kLookAgainNs;
  started_said_ = true;
  asio::post(io_, [this] { beforehand_.ghosts.end(); });  // what waits still is not needed
  say("{}: runs in the background (pid {}); dvm-ctl --name {} console shows its console",
      state.config.name.data(), ::getpid(), state.config.name.data());
  daemon_->started();
  return std::nullopt;
}

std::optional<u64> GuestRun::look_at_events() {
  last_event_ =
      fabric::read_events(machine().events(), last_event_, [&](const fabric::Event& event) {
        if (guest_->events) guest_->events->append(event);
        if (const auto text = event_message(event, machine().config())) say("{}", *text);
      });
  control_->events_written();
  return std::nullopt;
}

void GuestRun::drain_firmware_log() {
  if (!guest_->firmware_log) return;
  std::array<char, 4096> part{};
  while (const std::size_t n = machine().firmware_log_output(part)) {
    // A file that takes no more ends the log, never the guest.
    if (::write(guest_->firmware_log->get(), part.data(), n) < 0)
      return guest_->firmware_log.reset();
  }
}

}  // namespace dvm::tools
