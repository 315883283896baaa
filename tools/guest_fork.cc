#include "tools/guest_fork.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "fabric/doorbell.h"
#include "tools/child_output.h"
#include "tools/copy_files.h"
#include "tools/node_process.h"
#include "tools/run_command_line.h"
#include "tools/runtime_dir.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr std::size_t kStartedAtOnce = 4;
constexpr u64 kSayAfterNs = 2'000'000'000;
// A dvm-run on its way to the background.
struct Starting {
  std::string name;
  Fd said;
  u64 began_ns = 0;
};

std::vector<std::string> clone_words(const CtlCommandLine& line, const std::string& from,
                                     const std::string& name, u32 n) {
  std::vector<std::string> words = {"--resume", from, "--name", name, "--detach"};
  const auto more = clone_options(line, n);
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class Clones {
 public:
  Clones(const CtlCommandLine& line, std::string program, std::string from)
      : line_(line), program_(std::move(program)), from_(std::move(from)) {}

  Result<json> start() {
    const auto names = clone_names(line_);
    const u64 began = fabric::monotonic_ns();
    for (u32 n = 0; n < names.size() && first_error_.ok(); ++n) {
      first_error_ = start_one(names[n], n + 1);
      while (starting_.size() >= kStartedAtOnce) await_one();
      say_how_far(names.size(), began);
    }
    while (!starting_.empty()) {
      await_one();
      say_how_far(names.size(), began);
    }
    if (said_) fmt::print(stderr, "\n");
    if (first_error_.ok()) return json{{"clones", clones_}};
    return error("{} ({} of {} run)", first_error_.error().message, clones_.size(), names.size());
  }

  std::size_t running() const { return clones_.size(); }

 private:
  Status start_one(const std::string& name, u32 n) {
    std::vector<std::string> words = clone_words(line_, from_, name, n);
    words.insert(words.begin(), program_);
    DVM_ASSIGN(Fd said, make_memfd("dvm-said"));
    const u64 began = fabric::monotonic_ns();
    DVM_ASSIGN(const pid_t pid, spawn_saying(std::move(words), said));
    starting_.emplace(pid, Starting{name, std::move(said), began});
    return {};
  }

  void await_one() {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    const auto found = starting_.find(pid);
    if (found == starting_.end()) return;
    const Starting one = std::move(found->second);
    starting_.erase(found);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      constexpr double kNsPerMs = 1e6;
      const u64 took = fabric::monotonic_ns() - one.began_ns;
      clones_.push_back({{"name", one.name}, {"ms", static_cast<double>(took) / kNsPerMs}});
      return;
    }
    const std::string why = last_line(one.said);
    if (first_error_.ok())
      first_error_ = error("{}: could not be started: {}", one.name,
                           why.empty() ? describe_wait_status(status) : why);
  }

  void say_how_far(std::size_t all, u64 began) {
    if (fabric::monotonic_ns() - began < kSayAfterNs) return;
    fmt::print(stderr, "\rdvm-ctl: {} of {} run", clones_.size(), all);
    said_ = true;
  }

  const CtlCommandLine& line_;
  const std::string program_, from_;
  std::map<pid_t, Starting> starting_;
  json clones_ = json::array();
  Status first_error_;
  bool said_ = false;
};

// What can be known to be wrong, before the guest has to stand still.
Status check_clones(const CtlCommandLine& line, const std::string& from) {
  const auto running = running_guests();
  u32 n = 0;
  for (const std::string& name : clone_names(line)) {
    if (std::ranges::find(running, name, &RunningGuest::name) != running.end())
      return error("fork: a guest {} is running; allowed: another name", name);
    DVM_TRY(parse_run_command_line(clone_words(line, from, name, ++n)));
  }
  return {};
}

// Nobody changes it from here on.
Status seal(const Fd& file) {
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
      0)
    return sys_error("fcntl F_ADD_SEALS");
  return {};
}

}  // namespace

std::vector<std::string> clone_names(const CtlCommandLine& line) {
  if (!line.count) return {line.file};
  std::vector<std::string> names;
  for (u32 n = 1; n <= *line.count; ++n) names.push_back(fmt::format("{}-{}", line.file, n));
  return names;
}

std::vector<std::string> clone_options(const CtlCommandLine& line, u32 n) {
  constexpr std::string_view kNumber = "{n}";
  std::vector<std::string> words = line.run_options;
  for (std::string& word : words) {
    for (std::size_t at = 0; (at = word.find(kNumber, at)) != std::string::npos;)
      word.replace(at, kNumber.size(), fmt::to_string(n));
  }
  return words;
}

Result<json> fork_guest(GuestConnection& connection, const std::string& guest,
                        const CtlCommandLine& line) {
  DVM_ASSIGN(auto program, sibling_program("dvm-run"));
  DVM_ASSIGN(const Fd file, make_memfd("dvm-fork"));
  // By our process: the clones have opened it before we end.
  const std::string path = path_of_descriptor(file.get());
  DVM_TRY(check_clones(line, path));
  DVM_ASSIGN(const json status, connection.ask({{"command", "status"}}));
  DVM_ASSIGN(auto copies, CopyFiles::make(status, line.disks, line.file));
  const u64 began = fabric::monotonic_ns();
  bool said = false;
  const auto reply = connection.ask(
      {{"command", "checkpoint"}, {"file", path}, {"fork", true}, {"disks", copies.request()}},
      [&](const json& p) {
        if (fabric::monotonic_ns() - began < kSayAfterNs) return;
        fmt::print(stderr, "\rdvm-ctl: {}: saved {} of {} MiB", guest,
                   p.at("done").get<u64>() / kMiB, p.at("total").get<u64>() / kMiB);
        said = true;
      });
  if (said) fmt::print(stderr, "\n");
  if (!reply) return reply.error();
  DVM_TRY(seal(file));
  Clones clones(line, std::move(program), path);
  auto started = clones.start();
  if (clones.running() != 0) copies.keep();
  return started;
}

}  // namespace dvm::tools
