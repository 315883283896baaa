// dvm-run: launches a guest and stays with it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "tools/daemon.h"
#include "tools/detached_launch.h"
#include "tools/exit_code.h"
#include "tools/ghost_keeper.h"
#include "tools/ghost_launcher.h"
#include "tools/guest_run.h"
#include "tools/message.h"
#include "tools/run_command_line.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

int fail(const Error& failure) {
  say("{}", failure.message);
  return exit_code_of(failure);
}

int finish(const Result<int>& code) { return code.ok() ? *code : fail(code.error()); }

int print(const std::string& text) {
  return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? kExitError : kExitOk;
}

// Whoever started us with stdin, stdout or stderr closed must not have our own files taken for
// them.
void fill_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) < 0) return;
  }
}

struct Launch {
  RunSettings settings;
  GoesOnFrom from;
};

Result<Launch> launch_from_checkpoint(RunCommandLine line, const std::string& path) {
  Launch launch;
  DVM_ASSIGN(auto found, vmm::checkpoint::open_restorable(path));
  DVM_ASSIGN(launch.settings,
             settings_from_checkpoint(found.image.launch, std::move(line),
                                      found.image.config.name.data(), found.image.clock != 0));
  launch.from.checkpoint = std::move(found);
  return launch;
}

Result<Launch> launch_from(RunCommandLine line, const std::string& default_name) {
  Launch launch;
  if (!line.resume) {
    DVM_ASSIGN(launch.settings, settings_from(std::move(line), default_name));
    return launch;
  }
  const std::string path = std::filesystem::absolute(*line.resume);
  if (vmm::checkpoint::is_checkpoint(path)) return launch_from_checkpoint(std::move(line), path);
  if (line.for_checkpoints) {
    return usage_error("found {} with --resume {}; allowed: of a checkpoint", *line.for_checkpoints,
                       *line.resume);
  }
  constexpr u64 kTakesSeconds = 4 * kGiB;
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && static_cast<u64>(st.st_blocks) * 512 > kTakesSeconds)
    say("{}: looking whether {} are what they were", path,
        format_size(static_cast<u64>(st.st_blocks) * 512));
  DVM_ASSIGN(launch.from.pool, vmm::open_resumable(path));
  DVM_ASSIGN(launch.settings, settings_from_launch(launch.from.pool->launch, std::move(line),
                                                   launch.from.pool->config.name.data()));
  launch.settings.pool = path;
  return launch;
}

// A guest in the background, in a process that is the daemon already.
int run_daemon(Launch launch, Beforehand& beforehand, Daemon& daemon) {
  GuestRun guest(beforehand, &daemon);
  const int code = finish(guest.run(launch.settings, std::move(launch.from)));
  daemon.end(code);  // while the guest's folder is there, and the log in it
  return code;
}

// With dvm-run --ghosts. None: no ghost waits, or it has gone.
std::optional<int> run_in_ghost(const RunCommandLine& line) {
  if (!line.resume || !line.request.detach) return {};
  const Fd said(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  auto launch = DetachedLaunch::in_ghost(line.words, said);
  if (!launch) return {};
  pass_signals_to(launch->pid());
  return finish(launch->await());
}

int run(const std::vector<std::string>& words) {
  auto line = parse_run_command_line(words);
  if (!line) return fail(line.error());
  if (line->help) return print(run_help());
  if (line->version) return print("dvm-run " DVM_VERSION "\n");
  if (line->cpu_help) return print(cpu_help());
  if (line->ghosts) return finish(keep_ghosts(*line->ghosts));
  if (const auto code = run_in_ghost(*line)) return *code;
  const auto default_name = [] { return fmt::format("dvm-{}", ::getpid()); };
  const std::string unnamed = default_name();
  auto launch = launch_from(line.take(), unnamed);
  if (!launch) return fail(launch.error());
  RunSettings* const settings = &launch->settings;
  Beforehand nothing;
  if (!settings->detach) {
    GuestRun guest(nothing);
    return finish(guest.run(*settings, std::move(launch->from)));
  }
  auto split = Daemon::split();
  if (!split) return fail(split.error());
  if (split->exit_code) return *split->exit_code;
  if (settings->name == unnamed) settings->name = default_name();
  return run_daemon(launch.take(), nothing, *split->daemon);
}

// Started by dvm-run --ghosts. What it is told has --detach.
int run_as_ghost(const std::vector<std::string>& ghost_words) {
  Beforehand beforehand;
  auto words = wait_as_launcher(ghost_words, beforehand);
  if (!words) return fail(words.error());
  if (!*words) return kExitOk;
  auto daemon = Daemon::become(Fd(kGhostStatus));
  if (!daemon) return fail(daemon.error());
  const int code = [&] {
    auto line = parse_run_command_line({(*words)->begin() + 1, (*words)->end()});
    if (!line) return fail(line.error());
    auto launch = launch_from(line.take(), fmt::format("dvm-{}", ::getpid()));
    return launch ? run_daemon(launch.take(), beforehand, **daemon) : fail(launch.error());
  }();
  (*daemon)->end(code);
  return code;
}

}  // namespace
}  // namespace dvm::tools

int main(int argc, char** argv) {
  dvm::tools::fill_standard_descriptors();
  try {
    if (argc > 1 && argv[1] == dvm::kGhostWord)
      return dvm::tools::run_as_ghost({argv + 2, argv + argc});
    return dvm::tools::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    dvm::tools::say("{}", e.what());
    return dvm::tools::kExitError;
  }
}
