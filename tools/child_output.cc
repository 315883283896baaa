#include "tools/child_output.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "fabric/spawn.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

// What a program says, at most, that we read.
constexpr std::size_t kMaxSaid = 4096;
constexpr int kAskEveryMs = 20;

// False: it runs on.
bool ends_within(const Fd& pidfd, int ms) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, ms) > 0;
}

}  // namespace

Result<Fd> make_memfd(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return sys_error("memfd_create");
  return fd;
}

Result<pid_t> spawn_saying(std::vector<std::string> words, const Fd& said) {
  Program program{.words = std::move(words)};
  program.output = said.get();
  program.own_group = false;
  return spawn(std::move(program));
}

std::string last_line(const Fd& said) {
  std::string text(kMaxSaid, '\0');
  const ssize_t got = ::pread(said.get(), text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

Status run_program(const std::vector<std::string>& words, const std::function<Status()>& go_on) {
  DVM_ASSIGN(const Fd said, make_memfd("dvm-said"));
  DVM_ASSIGN(const pid_t pid, spawn_saying(words, said));
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  Status refused;
  while (go_on && pidfd.valid() && !ends_within(pidfd, kAskEveryMs)) {
    if (refused = go_on(); refused.ok()) continue;
    ::kill(pid, SIGKILL);
    break;
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  DVM_TRY(refused);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const std::string why = last_line(said);
  return error("{}: {}", words.front(), why.empty() ? describe_wait_status(status) : why);
}

}  // namespace dvm::tools
