#include "tools/guest_fork.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fabric/doorbell.h"
#include "tools/child_output.h"
#include "tools/copy_files.h"
#include "tools/detached_launch.h"
#include "tools/exit_code.h"
#include "tools/run_command_line.h"
#include "tools/runtime_dir.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr std::size_t kStartedAtOnce = 4;
constexpr u64 kSayAfterNs = 2'000'000'000;
struct Starting {
  std::string name;
  DetachedLaunch launch;
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
  Clones(const CtlCommandLine& line, std::string from) : line_(line), from_(std::move(from)) {}

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
    DVM_ASSIGN(Fd said, make_memfd("dvm-said"));
    const u64 began = fabric::monotonic_ns();
    DVM_ASSIGN(auto launch, DetachedLaunch::start(clone_words(line_, from_, name, n), said));
    starting_.push_back({name, std::move(launch), std::move(said), began});
    return {};
  }

  Starting next_ready() {
    std::vector<pollfd> watched;
    for (const Starting& one : starting_) watched.push_back({one.launch.status().get(), POLLIN, 0});
    while (::poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
    }
    const auto ready = std::ranges::find_if(watched, [](auto& w) { return w.revents != 0; });
    const auto found = starting_.begin() + (ready == watched.end() ? 0 : ready - watched.begin());
    Starting one = std::move(*found);
    starting_.erase(found);
    return one;
  }

  void await_one() {
    Starting one = next_ready();
    const auto code = one.launch.await();
    if (code.ok() && *code == kExitOk) {
      constexpr double kNsPerMs = 1e6;
      const u64 took = fabric::monotonic_ns() - one.began_ns;
      clones_.push_back({{"name", one.name}, {"ms", static_cast<double>(took) / kNsPerMs}});
      return;
    }
    const std::string why = last_line(one.said);
    if (first_error_.ok())
      first_error_ = error("{}: could not be started: {}", one.name,
                           !why.empty() ? why
                           : code.ok()  ? fmt::format("exit code {}", *code)
                                        : code.error().message);
  }

  void say_how_far(std::size_t all, u64 began) {
    if (fabric::monotonic_ns() - began < kSayAfterNs) return;
    fmt::print(stderr, "\rdvm-ctl: {} of {} run", clones_.size(), all);
    said_ = true;
  }

  const CtlCommandLine& line_;
  const std::string from_;
  std::vector<Starting> starting_;
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
  Clones clones(line, path);
  auto started = clones.start();
  if (clones.running() != 0) copies.keep();
  return started;
}

}  // namespace dvm::tools
