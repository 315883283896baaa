// Programs started beforehand: linked, waiting, and told later what they are to be. Where starting
// one takes longer than its work, as for a clone of a guest, it is started before it is wanted.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "fabric/spawn.h"

namespace dvm {

// The first word of a program that is to wait; what follows it is the program's own.
inline constexpr std::string_view kGhostWord = "--ghost";

// One that waits, and the way to tell it. A child of ours, unless it came from another process.
class Ghost {
 public:
  // `program` as in Program::words.front(); `more` comes after kGhostWord.
  static Result<Ghost> start(const std::string& program, const std::vector<std::string>& more = {},
                             bool own_group = true);
  Ghost(pid_t pid, Fd socket) : pid_(pid), socket_(std::move(socket)) {}

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }  // whoever has it may tell the ghost
  // From here on it is what spawn() would have started, in our working directory, but with the
  // environment, limits and groups it was started with. The first word is not looked at. Error: it
  // is gone, or the words or descriptors are too many (kMaxGhostWords, kMaxGhostDescriptors).
  Status become(const Program& program) const;

 private:
  pid_t pid_;
  Fd socket_;
};

inline constexpr std::size_t kMaxGhostWords = 64 * 1024;  // bytes
inline constexpr std::size_t kMaxGhostDescriptors = 200;

// In the ghost: waits until it is told; its process is named dvm-ghost until then. Its words as
// main() has them, with descriptors where they were promised; none once nobody is left to tell it.
// Precondition: main() was started with kGhostWord, and has opened nothing that it still needs by
// number.
Result<std::optional<std::vector<std::string>>> await_words();
// What main() was given, or is told if it was started with kGhostWord alone.
Result<std::optional<std::vector<std::string>>> program_words(int argc, char** argv);

// Those a process has of each program. What none waits for is started as usual. Single-threaded.
class Ghosts {
 public:
  Ghosts() = default;
  ~Ghosts() { end(); }
  Ghosts(const Ghosts&) = delete;
  Ghosts& operator=(const Ghosts&) = delete;

  Status start(const std::string& program);
  // As dvm::spawn.
  Result<pid_t> spawn(Program program);
  // Those that wait.
  void end();

 private:
  std::multimap<std::string, Ghost> waiting_;
};

}  // namespace dvm
