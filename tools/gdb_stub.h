// What gdb asks for, packet by packet (gdb manual, appendix E): text in, text out.
//
// All-stop: while the guest runs nothing is asked but to stop. A vCPU is a thread, numbered from 1.
// A step is of one vCPU while the others stand still.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/debugged_machine.h"

namespace dvm::tools {

// Threads: one. The machine is stopped whenever a packet is handled.
class GdbStub {
 public:
  enum class Then { stay, run, leave };  // what follows the reply
  struct Answer {
    std::optional<std::string> reply;  // none: it comes with the next stop
    Then then = Then::stay;
  };

  explicit GdbStub(DebuggedMachine& machine) : machine_(machine) {}

  Answer handle(std::string_view packet);
  // The machine has stopped.
  std::string stop_reply();
  bool acknowledges() const { return acknowledges_; }

 private:
  Answer query(std::string_view packet);
  Answer resume(std::string_view actions);
  Answer step(u32 vcpu);
  std::string transfer(std::string_view range) const;
  std::string thread_list() const;
  std::string select(std::string_view words);
  std::string read_registers();
  std::string write_registers(std::string_view hex);
  std::string read_register(std::string_view words);
  std::string write_register(std::string_view words);
  std::string read_memory(std::string_view words);
  std::string write_memory(std::string_view words, bool binary);
  std::string breakpoint(std::string_view words, bool insert);
  std::optional<u32> vcpu_of(std::string_view thread) const;

  DebuggedMachine& machine_;
  u32 vcpu_ = 0;  // that registers and memory are asked of
  std::optional<u32> stepped_;
  bool acknowledges_ = true;
};

}  // namespace dvm::tools
