// A program whose output we watch, and at whose input we may type. It ends with us, whatever
// happens.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "fabric/fd.h"

namespace dvm::tools {

// Threads: one, that which started it, which has to outlive it.
class ConsoleChild {
 public:
  enum class Input { none, typed };

  // The program is found by PATH. Its stdout and stderr are `output`.
  static Result<ConsoleChild> start(const std::vector<std::string>& words,
                                    Input input = Input::none);
  ~ConsoleChild();
  ConsoleChild(ConsoleChild&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        output_(std::move(other.output_)),
        input_(std::move(other.input_)),
        ended_(std::move(other.ended_)) {}
  ConsoleChild& operator=(ConsoleChild&&) = delete;

  const Fd& output() const { return output_; }
  const Fd& input() const { return input_; }  // a socket; none: it reads /dev/null
  const Fd& ended() const { return ended_; }  // a pidfd: readable once it has ended
  void close_output() { output_.reset(); }
  void signal(int number) const;  // nothing once it was waited for
  int wait();                     // its wait status; once

 private:
  ConsoleChild(pid_t pid, Fd output, Fd input, Fd ended)
      : pid_(pid), output_(std::move(output)), input_(std::move(input)), ended_(std::move(ended)) {}
  pid_t pid_;
  Fd output_, input_, ended_;
};

}  // namespace dvm::tools
