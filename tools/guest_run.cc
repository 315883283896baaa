#include "tools/guest_run.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>

#include "fabric/partition.h"
#include "tools/event_text.h"
#include "tools/exit_code.h"
#include "tools/message.h"

namespace dvm::tools {

using vmm::Phase;
using vmm::StopReason;

namespace {

int exit_code_for(StopReason reason) {
  switch (reason) {
    case StopReason::shutdown:
    case StopReason::user: return kExitOk;
    case StopReason::panic: return kExitPanic;
    default: return kExitError;
  }
}

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

GuestRun::GuestRun() : signals_(io_, SIGINT, SIGTERM, SIGHUP) {
  signals_.add(SIGCONT);
  ::signal(SIGPIPE, SIG_IGN);
  // Giving the terminal back must not stop us when a shell has put us in the background meanwhile.
  ::signal(SIGTTOU, SIG_IGN);
}

Result<int> GuestRun::run(const RunSettings& settings) {
  DVM_ASSIGN(auto prepared, prepare_guest(settings));
  guest_.emplace(std::move(prepared));
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
  say("{}", describe_guest(settings));
  if (settings.net && settings.net->kind == NetKind::user) {
    network_.emplace(io_, machine(), net_text(*settings.net));
    DVM_TRY(network_->start());
  }
  DVM_ASSIGN(control_, ControlServer::start(machine(), guest_->folder.socket_path()));
  DVM_TRY(start_console());
  DVM_ASSIGN(Pipe pipe, make_pipe());
  lifeline_ = std::move(pipe.write);
  nodes_.emplace(io_, machine(), [this] { io_.stop(); });
  const NodeLaunch launch{guest_->node_program,
                          machine().pool().fd(),
                          machine().pool().name(),
                          guest_->boot,
                          pipe.read,
                          more_arguments(*guest_),
                          more_descriptors(*guest_)};
  DVM_TRY(nodes_->start(launch, settings.nodes));
  start_watchers();
  fabric::watch_partition(&machine().faults().cut, machine().self().id);
  return {};
}

Status GuestRun::start_console() {
  DVM_ASSIGN(output_, ConsoleOutput::open(machine(), STDOUT_FILENO));
  const bool is_terminal = ::isatty(STDIN_FILENO) != 0;
  const bool keys = is_terminal && RawTerminal::usable();
  if (keys) {
    DVM_ASSIGN(auto raw, RawTerminal::enter());
    terminal_.emplace(std::move(raw));
  }
  if (is_terminal && !keys) return {};  // in the background: the keys are somebody else's
  DVM_ASSIGN(input_, ConsoleInput::start(machine(), STDIN_FILENO, keys,
                                         [this](KeyCommand c) { on_keys(c); }));
  return {};
}

void GuestRun::start_watchers() {
  vmm::MachineState& state = machine().state();
  phase_watcher_.emplace(state.control.changed, [this] { return look_at_phase(); });
  event_watcher_.emplace(machine().events().written, [this] { return look_at_events(); });
  console_watcher_.emplace(state.console.produced, [this] { return look_at_console(); });
}

// Stops what was started, last first, and lets the guest's last words out.
void GuestRun::finish() {
  fabric::watch_partition(nullptr, 0);
  if (machine().state().control.phase.load() != Phase::stopped)
    machine().request_stop(StopReason::error);
  nodes_.reset();
  network_.reset();
  lifeline_.reset();
  if (output_) output_->give_up();
  console_watcher_.reset();
  input_.reset();
  event_watcher_.reset();
  phase_watcher_.reset();
  control_.reset();
  terminal_.reset();
  machine().pool().unlink();
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
    if (terminal_) terminal_->enter_again();
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
  for (std::string_view rest = kKeyHelp; !rest.empty();) {
    const auto end = rest.find('\n');
    say("{}", rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
}

std::optional<u64> GuestRun::look_at_phase() {
  if (!stop_posted_ && machine().state().control.phase.load() == Phase::stopped) {
    stop_posted_ = true;
    asio::post(io_, [this] { nodes_->machine_stopped(); });
  }
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

// The first byte goes out at once; those that follow within a millisecond go together, so that a
// guest that prints a lot does not wake us for each.
std::optional<u64> GuestRun::look_at_console() {
  const bool any = output_->drain();
  const auto retry = input_ ? input_->push() : std::nullopt;
  if (any) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return retry;
}

}  // namespace dvm::tools
