#include "tools/run_command_line.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/command_words.h"
#include "tools/json_text.h"
#include "tools/placement.h"
#include "tools/run_config.h"
#include "tools/size_text.h"
#include "tools/srt_option.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

const OptionNames kNames = {
    .with_value = {"--kernel",     "--initrd",       "--append",       "--nodes",
                   "--cpus",       "--memory",       "--placement",    "--name",
                   "--pool",       "--on-panic",     "--config",       "--events",
                   "--firmware",   "--firmware-log", "--serial",       "--console",
                   "--gdb",        "--cpu",          "--net",          "--mac",
                   "--hang-after", "--coherence",    "--local-memory", "--coherent-memory",
                   "--policy",     "--protect",      "--resume",       "--srt",
                   "--srt-memory", "--srt-warm",     "--watchdog",     "--overlays",
                   "--ghosts"},
    .flags = {"--detach", "--balloon", "--low-latency", "--help", "--version"},
    .repeatable = {"--disk"},
};

template <Result<u64> (*check)(u64)>
Result<u64> parse_memory(const std::string& text) {
  DVM_ASSIGN(const u64 bytes, parse_size(text));
  return check(bytes);
}

// Reads the option, if it was given, into one member of the request.
template <typename T, typename Read>
Status take(const CommandWords& words, const std::string& option, std::optional<T>& to,
            Read&& read) {
  const auto text = words.value(option);
  if (!text) return {};
  Result<T> value = read(*text);
  if (!value.ok()) return usage_error("{}: {}", option, value.error().message);
  to = value.take();
  return {};
}

Result<RunRequest> read_request(const CommandWords& words) {
  using namespace vmm::layout;
  RunRequest r;
  DVM_TRY(take(words, "--kernel", r.kernel, check_path));
  DVM_TRY(take(words, "--initrd", r.initrd, check_path));
  DVM_TRY(take(words, "--append", r.append, check_text));
  DVM_TRY(take(words, "--nodes", r.nodes, [](auto& t) { return parse_count(t, kMaxNodes); }));
  DVM_TRY(take(words, "--cpus", r.cpus, [](auto& t) { return parse_count(t, kMaxVcpus); }));
  DVM_TRY(take(words, "--memory", r.memory, parse_memory<check_memory>));
  DVM_TRY(take(words, "--placement", r.placement, parse_placement));
  DVM_TRY(take(words, "--name", r.name, check_name));
  DVM_TRY(take(words, "--pool", r.pool, check_path));
  DVM_TRY(take(words, "--on-panic", r.on_panic, parse_panic_policy));
  DVM_TRY(take(words, "--events", r.events, check_path));
  DVM_TRY(take(words, "--net", r.net, parse_net));
  DVM_TRY(take(words, "--mac", r.mac, parse_mac));
  for (const std::string& text : words.list("--disk")) {
    auto disk = parse_disk_option(text);
    if (!disk.ok()) return usage_error("--disk: {}", disk.error().message);
    r.disks.push_back(disk.take());
  }
  DVM_TRY(take(words, "--firmware", r.firmware, check_path));
  DVM_TRY(take(words, "--firmware-log", r.firmware_log, check_path));
  DVM_TRY(take(words, "--serial", r.serial, parse_serial_target));
  DVM_TRY(take(words, "--console", r.console, parse_console_target));
  DVM_TRY(take(words, "--gdb", r.gdb, parse_gdb_target));
  if (words.has("--balloon")) r.balloon = true;
  DVM_TRY(take(words, "--cpu", r.cpu, parse_cpu));
  DVM_TRY(take(words, "--hang-after", r.hang_after_ms, parse_hang_after));
  DVM_TRY(take(words, "--coherence", r.coherence, parse_coherence));
  DVM_TRY(take(words, "--local-memory", r.local_memory, parse_memory<check_local_memory>));
  DVM_TRY(take(words, "--coherent-memory", r.coherent_memory, parse_memory<check_coherent_memory>));
  DVM_TRY(take(words, "--policy", r.policy, locality::parse_policy));
  DVM_TRY(take(words, "--watchdog", r.watchdog, parse_on_off));
  DVM_TRY(take(words, "--srt", r.srt, parse_on_off));
  DVM_TRY(take(words, "--srt-memory", r.srt_memory, parse_memory<check_srt_memory>));
  DVM_TRY(take(words, "--srt-warm", r.srt_warm, check_path));
  DVM_TRY(take(words, "--protect", r.protection, parse_protection));
  if (words.has("--detach")) r.detach = true;
  if (words.has("--low-latency")) r.low_latency = true;
  return r;
}

// What a guest is stays as it was; who looks at it, and how, may be said anew.
Status check_resume(const CommandWords& found, RunCommandLine& line) {
  static const std::set<std::string> kAllowed = {
      "--resume", "--name",        "--events",     "--serial", "--gdb",
      "--detach", "--low-latency", "--hang-after", "--policy", "--firmware-log"};
  // Of one that goes on from a checkpoint, where it runs may be said anew, too.
  static const std::set<std::string> kAlso = {
      "--nodes", "--placement",  "--pool",    "--protect", "--net",     "--on-panic",
      "--srt",   "--srt-memory", "--console", "--mac",     "--overlays"};
  std::vector<std::string> given(found.flags.begin(), found.flags.end());
  for (const auto& [option, value] : found.values) given.push_back(option);
  for (const auto& [option, values] : found.lists) given.push_back(option);
  for (const std::string& option : given) {
    if (kAlso.contains(option)) line.for_checkpoints = option;
    if (!kAllowed.contains(option) && !kAlso.contains(option)) {
      return usage_error(
          "found {} with --resume; allowed: {}, and of a checkpoint {} (the rest is as the guest "
          "began)",
          option, fmt::join(kAllowed, ", "), fmt::join(kAlso, ", "));
    }
  }
  return {};
}

Result<GhostRequest> read_ghosts(const CommandWords& found, const RunRequest& request, u32 count) {
  const std::set<std::string> allowed = {"--ghosts", "--nodes", "--net"};
  for (const auto& [option, value] : found.values) {
    if (!allowed.contains(option))
      return usage_error("found {} with --ghosts; allowed: --nodes, --net user", option);
  }
  if (!found.flags.empty() || !found.lists.empty() || (request.net && *request.net != NetOption{}))
    return usage_error("found {} with --ghosts; allowed: --nodes, --net user",
                       !found.flags.empty()   ? *found.flags.begin()
                       : !found.lists.empty() ? found.lists.begin()->first
                                              : "another network");
  return GhostRequest{count, request.nodes.value_or(1), request.net.has_value()};
}

Result<RunRequest> whole_request(RunCommandLine& line, const std::optional<std::string>& config) {
  RunRequest base;
  if (config) {
    DVM_ASSIGN(base, parse_config(*config, *line.config));
  }
  return override_with(std::move(base), std::move(line.request));
}

}  // namespace

std::vector<std::string> run_option_names() {
  std::vector<std::string> names = kNames.with_value;
  names.insert(names.end(), kNames.flags.begin(), kNames.flags.end());
  names.insert(names.end(), kNames.repeatable.begin(), kNames.repeatable.end());
  return names;
}

Result<RunCommandLine> parse_run_command_line(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  RunCommandLine line;
  line.help = found.has("--help");
  line.version = found.has("--version");
  line.cpu_help = found.value("--cpu") == "help";
  if (line.help || line.version || line.cpu_help) return line;
  if (!found.rest.empty()) {
    return usage_error(
        "found '{}', which belongs to no option; allowed: options (--help lists them)",
        found.rest.front());
  }
  line.words = words;
  DVM_ASSIGN(line.request, read_request(found));
  line.config = found.value("--config");
  DVM_TRY(take(found, "--resume", line.resume, check_path));
  DVM_TRY(take(found, "--overlays", line.overlays, check_path));
  if (line.overlays && !line.resume)
    return usage_error("--overlays: allowed with --resume of a checkpoint");
  if (line.resume) DVM_TRY(check_resume(found, line));
  std::optional<u32> ghosts;
  DVM_TRY(
      take(found, "--ghosts", ghosts, [](auto& t) { return parse_count(t, GhostRequest::kMax); }));
  if (ghosts) {
    DVM_ASSIGN(line.ghosts, read_ghosts(found, line.request, *ghosts));
  }
  return line;
}

Result<RunSettings> settings_from(RunCommandLine line, std::string default_name) {
  std::optional<std::string> config;
  if (line.config) {
    DVM_ASSIGN(config, read_config(*line.config));
  }
  std::error_code none;  // of a folder that was removed: paths begin nowhere then
  nlohmann::json launch = {{"words", line.words},
                           {"folder", std::filesystem::current_path(none).string()}};
  if (config) launch["config"] = *config;
  DVM_ASSIGN(auto request, whole_request(line, config));
  DVM_ASSIGN(auto settings, settle(std::move(request), std::move(default_name)));
  settings.launch = to_line(launch);
  return settings;
}

namespace {

// What the guest was asked to be when it began.
Result<RunRequest> launched_request(const std::string& launch) {
  const nlohmann::json told = parse_json(launch);
  const auto wrong = [] { return error("how the guest was launched cannot be read"); };
  if (!told.is_object() || !told.contains("words") || !told.contains("folder") ||
      !told["folder"].is_string())
    return wrong();
  std::vector<std::string> words;
  for (const auto& word : told["words"]) {
    if (!word.is_string()) return wrong();
    words.push_back(word.get<std::string>());
  }
  std::optional<std::string> config;
  if (const auto text = told.find("config"); text != told.end()) {
    if (!text->is_string()) return wrong();
    config = text->get<std::string>();
  }
  DVM_ASSIGN(RunCommandLine began, parse_run_command_line(words));
  if (began.config.has_value() != config.has_value()) return wrong();
  DVM_ASSIGN(auto request, whole_request(began, config));
  start_paths_at(request, told["folder"].get<std::string>());
  if (const auto disks = told.find("disks"); disks != told.end()) {
    DVM_ASSIGN(request.disks, disk_options_of(*disks));
  }
  return request;
}

Result<RunSettings> settle_launched(RunRequest request, const std::string& launch,
                                    RunCommandLine line, std::string default_name) {
  DVM_ASSIGN(auto settings, settle(override_with(std::move(request), std::move(line.request)),
                                   std::move(default_name)));
  settings.overlays = std::move(line.overlays);
  settings.launch = launch;
  return settings;
}

}  // namespace

Result<RunSettings> settings_from_launch(const std::string& launch, RunCommandLine line,
                                         std::string default_name) {
  DVM_ASSIGN(auto request, launched_request(launch));
  return settle_launched(std::move(request), launch, std::move(line), std::move(default_name));
}

Result<RunSettings> settings_from_checkpoint(const std::string& launch, RunCommandLine line,
                                             std::string default_name, bool forked) {
  DVM_ASSIGN(auto request, launched_request(launch));
  if (line.request.name.value_or(default_name) != default_name) request.mac.reset();
  if (forked && request.net) request.net->forwards.clear();
  if (line.request.nodes) request.placement.reset();
  request.pool.reset();
  request.events.reset();
  request.firmware_log.reset();
  request.gdb.reset();
  request.serial.reset();
  request.detach.reset();
  request.srt_warm.reset();
  if (request.console && request.console->present) request.console = ConsoleTarget{.present = true};
  return settle_launched(std::move(request), launch, std::move(line), std::move(default_name));
}

}  // namespace dvm::tools
