// Programs we start: each has the descriptors it is given, stderr, and nothing else of ours.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm {

struct Program {
  // The first: its file, looked for in PATH unless it has a slash.
  std::vector<std::string> words;
  struct Passed {
    int ours;
    int theirs;
  };
  std::vector<Passed> descriptors{};  // in this order; to the same number takes O_CLOEXEC off
  int output = STDERR_FILENO;         // of ours: where its stdout and stderr go
  // A group of its own: a Ctrl-C at the terminal is for the launcher alone to answer.
  bool own_group = true;

  void keep(int fd) { descriptors.push_back({fd, fd}); }
};

// Starts it with nothing to read, every signal unblocked and SIGPIPE as usual. Whoever calls waits
// for it: until then its id cannot be anyone else's.
Result<pid_t> spawn(Program program);

}  // namespace dvm
