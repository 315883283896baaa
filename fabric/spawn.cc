#include "fabric/spawn.h"

#include <fcntl.h>
#include <spawn.h>

#include <csignal>
#include <cstring>

namespace dvm {
namespace {

class Actions {
 public:
  explicit Actions(const Program& program) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, program.output, STDOUT_FILENO);
    if (program.output != STDERR_FILENO)
      ::posix_spawn_file_actions_adddup2(&actions_, program.output, STDERR_FILENO);
    for (const auto& [ours, theirs] : program.descriptors)
      ::posix_spawn_file_actions_adddup2(&actions_, ours, theirs);
  }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  explicit Attributes(bool own_group) {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, usual;
    ::sigemptyset(&none);
    ::sigemptyset(&usual);
    ::sigaddset(&usual, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &usual);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    const int group = own_group ? POSIX_SPAWN_SETPGROUP : 0;
    ::posix_spawnattr_setflags(
        &attributes_, static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group));
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<pid_t> spawn(Program program) {
  std::vector<char*> argv;
  for (auto& word : program.words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const Actions actions(program);
  const Attributes attributes(program.own_group);
  pid_t pid = 0;
  const int failure =
      ::posix_spawnp(&pid, argv[0], actions.get(), attributes.get(), argv.data(), environ);
  if (failure != 0) {
    return Error{ErrorKind::runtime, failure,
                 fmt::format("start {}: {}", program.words.front(), std::strerror(failure))};
  }
  return pid;
}

}  // namespace dvm
