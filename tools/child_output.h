// Programs that are started for one piece of work, and say little: the last line that one said is
// why it failed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fabric/fd.h"

namespace dvm::tools {

// A file in memory, which takes seals.
Result<Fd> make_memfd(const char* name);

// Starts words[0], looked for in PATH unless it has a slash, with nothing to read; what it says
// goes to `said`, a file of make_memfd. The caller waits for it.
Result<pid_t> spawn_saying(std::vector<std::string> words, const Fd& said);
std::string last_line(const Fd& said);

// The same, until it has ended. `go_on` is asked about 50 times a second; once it refuses, the
// program is killed, and that is the error. Error: also what it said, if it did not end with 0.
Status run_program(const std::vector<std::string>& words,
                   const std::function<Status()>& go_on = {});

}  // namespace dvm::tools
