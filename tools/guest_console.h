// The guest's serial port or virtio console on the launcher's side: what it prints goes into the
// feed, which any number of lookers-on read, and to where --serial or --console leads.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "tools/console_input.h"
#include "tools/console_output.h"
#include "tools/serial_socket.h"
#include "tools/serial_target.h"
#include "tools/terminal.h"

namespace dvm::tools {

// Threads: look() by one, give_up() by any, the rest by the one that made it.
class GuestConsole {
 public:
  // Opens what --serial or, for the virtio port, --console names. An error names it.
  static Result<std::unique_ptr<GuestConsole>> open(
      vmm::Machine& machine, const SerialTarget& target,
      vmm::ConsolePort port = vmm::ConsolePort::serial);
  // From now on stdin is read, if the serial port is there. `on_command` runs on a thread of ours.
  Status read_stdin(std::function<void(KeyCommand)> on_command);
  // The size of the terminal on stdin, for the guest, if the port is there and can tell it.
  void tell_size() const;
  // After a stop the shell has set the terminal as it likes it.
  void enter_terminal_again() const;

  // Moves what has been printed and what has been typed; `fed` is called if there was anything
  // printed. When to look again, at the latest.
  std::optional<u64> look(const std::function<void()>& fed);
  // From now on a stdout that does not read is waited for no longer than a moment.
  void give_up();

  bool on_terminal() const { return terminal_.has_value(); }
  ConsoleEnds ends() { return {feed_, typed_}; }

 private:
  GuestConsole(vmm::Machine& machine, SerialTarget target, vmm::ConsolePort port)
      : machine_(machine), target_(std::move(target)), port_(port), typed_(machine, port) {}
  std::string_view option() const {
    return port_ == vmm::ConsolePort::serial ? "--serial" : "--console";
  }
  Status open_target();
  void write(std::span<const char> bytes);

  vmm::Machine& machine_;
  const SerialTarget target_;
  const vmm::ConsolePort port_;
  ConsoleFeed feed_;
  TypedInput typed_;
  Fd file_;
  std::optional<ConsoleOutput> output_;
  std::unique_ptr<SerialSocket> socket_;
  std::optional<RawTerminal> terminal_;
  std::unique_ptr<ConsoleInput> input_;
};

}  // namespace dvm::tools
