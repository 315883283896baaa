#include "tools/bench/exit_profile.h"

#include <asm/svm.h>
#include <asm/vmx.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "fabric/fd.h"
#include "tools/exit_reason.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::tools {
namespace {

constexpr std::string_view kTracefs = "/sys/kernel/debug/tracing";  // mounts itself when looked at
constexpr std::string_view kKernelTrigger = "hist:keys=isa,exit_reason:size=1024";
constexpr std::string_view kUserTrigger = "hist:keys=reason:size=256";
constexpr std::string_view kKernelEvent = "kvm_exit", kUserEvent = "kvm_userspace_exit";

struct CodeName {
  i64 code;
  std::string_view name;
};
constexpr auto kSvmNames = std::to_array<CodeName>({SVM_EXIT_REASONS});
constexpr auto kVmxNames = std::to_array<CodeName>({VMX_EXIT_REASONS});

template <std::size_t N>
std::string name_in(const std::array<CodeName, N>& names, u64 code) {
  for (const auto& entry : names) {
    if (entry.code == static_cast<i64>(code)) return std::string(entry.name);
  }
  return fmt::format("{:#x}", code);
}

std::string kernel_reason(const std::map<std::string, u64>& keys) {
  constexpr u64 kIsaVmx = 1, kVmxReasonBits = 0xffff;
  const auto isa = keys.find("isa"), reason = keys.find("exit_reason");
  if (isa == keys.end() || reason == keys.end()) return "unknown";
  return isa->second == kIsaVmx ? name_in(kVmxNames, reason->second & kVmxReasonBits)
                                : name_in(kSvmNames, reason->second);
}

std::string user_reason(const std::map<std::string, u64>& keys) {
  const auto reason = keys.find("reason");
  return reason == keys.end() ? "unknown" : exit_reason_name(reason->second);
}

std::string event_file(const std::string& instance, std::string_view event, std::string_view file) {
  return fmt::format("{}/events/kvm/{}/{}", instance, event, file);
}

Status write_trigger(const std::string& instance, std::string_view event, std::string_view text) {
  const std::string path = event_file(instance, event, "trigger");
  DVM_ASSIGN(const Fd file, Fd::open(path, O_WRONLY | O_APPEND));
  return file.write_all(std::as_bytes(std::span(text)), path);
}

template <typename Name>
Result<std::map<std::string, u64>> read_counts(const std::string& instance, std::string_view event,
                                               Name&& name) {
  const std::string path = event_file(instance, event, "hist");
  std::ifstream file(path);
  if (!file) return error("cannot read {}", path);
  std::ostringstream text;
  text << file.rdbuf();
  std::map<std::string, u64> counts;
  for (const auto& line : parse_histogram(text.str())) counts[name(line.keys)] += line.hits;
  return counts;
}

std::optional<u64> number_after(std::string_view text, std::string_view what) {
  const auto at = text.find(what);
  if (at == std::string_view::npos) return std::nullopt;
  const auto digit = text.find_first_not_of(' ', at + what.size());
  if (digit == std::string_view::npos) return std::nullopt;
  u64 value = 0;
  const auto [end, failure] =
      std::from_chars(text.data() + digit, text.data() + text.size(), value);
  if (failure != std::errc{}) return std::nullopt;
  return value;
}

// "isa:          2, exit_reason:        123"
std::map<std::string, u64> parse_keys(std::string_view text) {
  std::map<std::string, u64> keys;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const auto name = part.find_first_not_of(' '), colon = part.find(':');
    if (name != std::string_view::npos && colon != std::string_view::npos && name < colon) {
      if (const auto value = number_after(part, ":")) {
        keys[std::string(part.substr(name, colon - name))] = *value;
      }
    }
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return keys;
}

}  // namespace

std::optional<u64> kvm_exit_count() {
  std::ifstream file("/sys/kernel/debug/kvm/exits");
  u64 count = 0;
  if (!(file >> count)) return std::nullopt;
  return count;
}

Result<ExitProfile> ExitProfile::start() {
  const std::string instance = fmt::format("{}/instances/dvm-bench-{}", kTracefs, ::getpid());
  if (::access(std::string(kTracefs).append("/events").c_str(), F_OK) < 0 ||
      ::mkdir(instance.c_str(), 0700) < 0) {
    return sys_error("make " + instance);
  }
  ExitProfile profile(instance);
  DVM_TRY(write_trigger(instance, kKernelEvent, kKernelTrigger));
  DVM_TRY(write_trigger(instance, kUserEvent, kUserTrigger));
  return profile;
}

ExitProfile::~ExitProfile() {
  if (!instance_.empty()) ::rmdir(instance_.c_str());
}

Status ExitProfile::clear() const {
  DVM_TRY(write_trigger(instance_, kKernelEvent, fmt::format("{}:clear", kKernelTrigger)));
  return write_trigger(instance_, kUserEvent, fmt::format("{}:clear", kUserTrigger));
}

Result<ExitCounts> ExitProfile::take() const {
  ExitCounts counts;
  DVM_ASSIGN(counts.kernel, read_counts(instance_, kKernelEvent, kernel_reason));
  DVM_ASSIGN(counts.user, read_counts(instance_, kUserEvent, user_reason));
  return counts;
}

std::vector<HistogramLine> parse_histogram(std::string_view text) {
  std::vector<HistogramLine> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const auto open = line.find('{'), close = line.find('}');
    if (line.starts_with('#') || open == std::string_view::npos ||
        close == std::string_view::npos || close < open)
      continue;
    const auto hits = number_after(line.substr(close), "hitcount:");
    auto keys = parse_keys(line.substr(open + 1, close - open - 1));
    if (hits && !keys.empty()) lines.push_back({std::move(keys), *hits});
  }
  return lines;
}

}  // namespace dvm::tools
