#include "tools/bench/reboot_run.h"

#include <nlohmann/json.hpp>

#include "tools/bench/console_run.h"
#include "tools/json_text.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr int kRestMs = 2000;
constexpr double kShutdownSeconds = 300;
constexpr const char* kPanic = "sysctl -qw kernel.panic=-1; echo c > /proc/sysrq-trigger";

void add_numbers(const json& value, const std::string& path, std::map<std::string, double>& all) {
  if (value.is_number()) all[path] = value.get<double>();
  if (!value.is_object()) return;
  for (const auto& [key, inner] : value.items())
    add_numbers(inner, path.empty() ? key : path + "." + key, all);
}

std::map<std::string, double> take_counters(const std::vector<std::string>& words) {
  std::string text;
  if (words.empty()) return {};
  const auto run = run_on_console(
      {.words = words, .marker = "{", .at_marker = {}, .on_line = [&](std::string_view line) {
         text += line;
       }});
  return run.ok() && run->wait_status == 0 ? numbers_of(text) : std::map<std::string, double>{};
}

// What starts late, and the rest of the console, belong to neither boot.
Status rest(GuestConsole& console) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kRestMs);
  while (std::chrono::steady_clock::now() < until) {
    const auto part = console.read(kRestMs / 10);
    if (!part.ok()) return part.error();
  }
  return {};
}

Result<BootTrace> boot(GuestConsole& console, const BootPlace& place, const char* which) {
  DVM_ASSIGN(BootWatch watch, BootWatch::begin(console, place));
  auto trace = watch.follow();
  if (!trace.ok()) return error("{}: {}", which, trace.error().message);
  return trace;
}

Result<RebootTrace> panic_and_return(GuestConsole& console, const RebootRun& run) {
  RebootTrace trace;
  DVM_ASSIGN(trace.cold, boot(console, run.place, "the first boot"));
  DVM_TRY(rest(console));
  DVM_TRY(console.type(kPanic));
  DVM_ASSIGN(trace.again, boot(console, run.place, "after the panic"));
  trace.counters = take_counters(run.counters);
  return trace;
}

}  // namespace

std::map<std::string, double> numbers_of(const std::string& text) {
  std::map<std::string, double> all;
  add_numbers(parse_json(text), "", all);
  return all;
}

Result<RebootTrace> run_reboot(const RebootRun& run) {
  DVM_ASSIGN(const HostMemory before, read_meminfo());
  DVM_ASSIGN(GuestConsole console, GuestConsole::start(run.words));
  auto trace = panic_and_return(console, run);
  console.stop();
  if (trace.ok()) trace->before = before;
  return trace;
}

Status settle(const RebootRun& run) {
  DVM_ASSIGN(GuestConsole console, GuestConsole::start(run.words));
  const auto trace = boot(console, run.place, "the boot that settles the image");
  if (!trace.ok()) return trace.error();
  DVM_TRY(console.type("systemctl poweroff"));
  return console.await_end(kShutdownSeconds);
}

}  // namespace dvm::tools
