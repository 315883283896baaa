// The guest's serial port on the launcher's side: what it prints goes into the feed, which any
// number of lookers-on read, and to where --serial leads.
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
  // Opens what --serial names. An error names it.
  static Result<std::unique_ptr<GuestConsole>> open(vmm::Machine& machine,
                                                    const SerialTarget& target);
  // From now on stdin is read, if the serial port is there. `on_command` runs on a thread of ours.
  Status read_stdin(std::function<void(KeyCommand)> on_command);
  // After a stop the shell has set the terminal as it likes it.
  void enter_terminal_again() const;

  // Moves what has been printed and what has been typed; `fed` is called if there was anything
  // printed. When to look again, at the latest.
  std::optional<u64> look(const std::function<void()>& fed);
  // From now on a stdout that does not read is waited for no longer than a moment.
  void give_up();

  ConsoleEnds ends() { return {feed_, typed_}; }

 private:
  GuestConsole(vmm::Machine& machine, SerialTarget target)
      : machine_(machine), target_(std::move(target)), typed_(machine) {}
  Status open_target();
  void write(std::span<const char> bytes);

  vmm::Machine& machine_;
  const SerialTarget target_;
  ConsoleFeed feed_;
  TypedInput typed_;
  Fd file_;
  std::optional<ConsoleOutput> output_;
  std::unique_ptr<SerialSocket> socket_;
  std::optional<RawTerminal> terminal_;
  std::unique_ptr<ConsoleInput> input_;
};

}  // namespace dvm::tools
