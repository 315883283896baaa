#include "tools/run_config.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "fabric/fd.h"
#include "tools/json_text.h"
#include "tools/placement.h"
#include "tools/size_text.h"
#include "tools/srt_option.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u64 kMaxConfigBytes = kMiB;

Result<std::string> text_of(const json& value, std::string_view allowed) {
  if (!value.is_string()) return wrong_type(value, allowed);
  return value.get<std::string>();
}

Result<std::string> path_of(const json& value) {
  DVM_ASSIGN(auto text, text_of(value, "the path of a file, as a string"));
  return check_path(std::move(text));
}

Result<u32> count_of(const json& value, u32 max) {
  if (!value.is_number_unsigned()) {
    return wrong_type(value, fmt::format("a whole number from 1 to {}", max));
  }
  return check_count(value.get<u64>(), max);
}

Result<u32> hang_after_of(const json& value) {
  if (!value.is_number_unsigned())
    return wrong_type(value, "a whole number of milliseconds, 100 to 600000");
  return check_hang_after(value.get<u64>());
}

template <Result<u64> (*check)(u64)>
Result<u64> memory_of(const json& value) {
  if (value.is_number_unsigned()) return check(value.get<u64>());
  if (!value.is_string())
    return wrong_type(value, "a string (\"512M\") or a whole number of bytes");
  DVM_ASSIGN(const u64 bytes, parse_size(value.get_ref<const std::string&>()));
  return check(bytes);
}

Result<std::vector<u16>> placement_of(const json& value) {
  static constexpr std::string_view kAllowed = "an array of node numbers, one for each vCPU";
  if (!value.is_array()) return wrong_type(value, kAllowed);
  if (value.size() > vmm::layout::kMaxVcpus) {
    return usage_error("found {} nodes; allowed: one for each of at most {} vCPUs", value.size(),
                       vmm::layout::kMaxVcpus);
  }
  std::vector<u16> placement;
  for (const json& node : value) {
    if (!node.is_number_unsigned() || node.get<u64>() > 0xffff) return wrong_type(node, kAllowed);
    placement.push_back(node.get<u16>());
  }
  return placement;
}

Result<std::string> append_of(const json& value) {
  DVM_ASSIGN(auto text, text_of(value, "the kernel's command line, as a string"));
  return check_text(std::move(text));
}

Result<std::string> name_of(const json& value) {
  DVM_ASSIGN(auto text, text_of(value, "a string of 1 to 48 of A-Z a-z 0-9 . _ -"));
  return check_name(std::move(text));
}

Result<PanicPolicy> panic_policy_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"reboot\" or \"exit\""));
  return parse_panic_policy(text);
}

Result<SerialTarget> serial_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"stdio\", \"file:PATH\" or \"unix:PATH\""));
  return parse_serial_target(text);
}

Result<ConsoleTarget> console_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "a string, as --console has it: \"virtio\""));
  return parse_console_target(text);
}

Result<GdbTarget> gdb_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"unix:PATH\" or \"tcp:HOST:PORT\""));
  return parse_gdb_target(text);
}

Result<vmm::CpuLevel> cpu_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "a CPU model's name, as a string"));
  return parse_cpu(text);
}

Result<CoherenceMode> coherence_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"shared\" or \"software\""));
  return parse_coherence(text);
}

Result<bool> on_off_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"on\" or \"off\""));
  return parse_on_off(text);
}

Result<locality::PolicyKind> policy_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"static\", \"affinity\" or \"learned\""));
  return locality::parse_policy(text);
}

Result<ProtectionChoice> protection_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "\"none\", \"flush\", \"epoch\" or \"epoch:MS\""));
  return parse_protection(text);
}

Result<bool> flag_of(const json& value) {
  if (!value.is_boolean()) return wrong_type(value, "true or false");
  return value.get<bool>();
}

Result<NetOption> net_of(const json& value) {
  DVM_ASSIGN(const auto text,
             text_of(value, "a string, as --net has it: \"user\", \"tap=IFNAME\""));
  return parse_net(text);
}

Result<vmm::net::MacAddress> mac_of(const json& value) {
  DVM_ASSIGN(const auto text, text_of(value, "a string, \"52:54:00:12:34:56\""));
  return parse_mac(text);
}

template <typename T>
Status store(std::optional<T>& to, Result<T> value) {
  if (!value.ok()) return value.error();
  to = value.take();
  return {};
}

template <typename T>
Status store_all(std::vector<T>& to, Result<std::vector<T>> values) {
  if (!values.ok()) return values.error();
  to = values.take();
  return {};
}

struct Key {
  std::string_view name;
  Status (*read)(const json& value, RunRequest& request);
};

using J = const json&;
using R = RunRequest&;
constexpr std::array<Key, 33> kKeys = {{
    {"kernel", [](J v, R r) { return store(r.kernel, path_of(v)); }},
    {"initrd", [](J v, R r) { return store(r.initrd, path_of(v)); }},
    {"append", [](J v, R r) { return store(r.append, append_of(v)); }},
    {"nodes", [](J v, R r) { return store(r.nodes, count_of(v, vmm::layout::kMaxNodes)); }},
    {"cpus", [](J v, R r) { return store(r.cpus, count_of(v, vmm::layout::kMaxVcpus)); }},
    {"memory", [](J v, R r) { return store(r.memory, memory_of<check_memory>(v)); }},
    {"placement", [](J v, R r) { return store(r.placement, placement_of(v)); }},
    {"name", [](J v, R r) { return store(r.name, name_of(v)); }},
    {"pool", [](J v, R r) { return store(r.pool, path_of(v)); }},
    {"on_panic", [](J v, R r) { return store(r.on_panic, panic_policy_of(v)); }},
    {"events", [](J v, R r) { return store(r.events, path_of(v)); }},
    {"net", [](J v, R r) { return store(r.net, net_of(v)); }},
    {"mac", [](J v, R r) { return store(r.mac, mac_of(v)); }},
    {"disks", [](J v, R r) { return store_all(r.disks, disk_options_of(v)); }},
    {"firmware", [](J v, R r) { return store(r.firmware, path_of(v)); }},
    {"firmware_log", [](J v, R r) { return store(r.firmware_log, path_of(v)); }},
    {"serial", [](J v, R r) { return store(r.serial, serial_of(v)); }},
    {"console", [](J v, R r) { return store(r.console, console_of(v)); }},
    {"balloon", [](J v, R r) { return store(r.balloon, flag_of(v)); }},
    {"gdb", [](J v, R r) { return store(r.gdb, gdb_of(v)); }},
    {"cpu", [](J v, R r) { return store(r.cpu, cpu_of(v)); }},
    {"hang_after", [](J v, R r) { return store(r.hang_after_ms, hang_after_of(v)); }},
    {"low_latency", [](J v, R r) { return store(r.low_latency, flag_of(v)); }},
    {"coherence", [](J v, R r) { return store(r.coherence, coherence_of(v)); }},
    {"local_memory",
     [](J v, R r) { return store(r.local_memory, memory_of<check_local_memory>(v)); }},
    {"coherent_memory",
     [](J v, R r) { return store(r.coherent_memory, memory_of<check_coherent_memory>(v)); }},
    {"watchdog", [](J v, R r) { return store(r.watchdog, on_off_of(v)); }},
    {"srt", [](J v, R r) { return store(r.srt, on_off_of(v)); }},
    {"srt_memory", [](J v, R r) { return store(r.srt_memory, memory_of<check_srt_memory>(v)); }},
    {"srt_warm", [](J v, R r) { return store(r.srt_warm, path_of(v)); }},
    {"policy", [](J v, R r) { return store(r.policy, policy_of(v)); }},
    {"protect", [](J v, R r) { return store(r.protection, protection_of(v)); }},
    {"detach", [](J v, R r) { return store(r.detach, flag_of(v)); }},
}};

std::string key_names() {
  std::string names;
  for (const Key& key : kKeys) names += fmt::format("{}{}", names.empty() ? "" : ", ", key.name);
  return names;
}

Status read_key(const std::string& name, const json& value, RunRequest& request) {
  for (const Key& key : kKeys) {
    if (key.name != name) continue;
    if (const auto status = key.read(value, request); !status) {
      return usage_error("{}: {}", name, status.error().message);
    }
    return {};
  }
  return usage_error("found unknown key '{}'; allowed: {}", name, key_names());
}

// JSON lets a key appear twice and keeps one of the two: which one was meant is not ours to guess.
Result<json> parse_object(const std::string& text) {
  std::set<std::string> seen;
  std::optional<std::string> twice;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!seen.insert(key).second) twice = key;
    }
    return true;
  };
  try {
    json object = json::parse(text, watch);
    if (twice) return usage_error("{}: found twice; allowed: once", *twice);
    if (!object.is_object()) return wrong_type(object, "an object, { \"kernel\": ... }");
    return object;
  } catch (const json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, ...": the number helps nobody.
    const std::string_view what = e.what();
    const auto start = what.find("] ");
    return usage_error("not valid JSON: {}", start == what.npos ? what : what.substr(start + 2));
  }
}

}  // namespace

std::vector<std::string_view> config_keys() {
  std::vector<std::string_view> names;
  for (const Key& key : kKeys) names.push_back(key.name);
  return names;
}

Result<RunRequest> parse_config(const std::string& text, const std::string& name) {
  RunRequest request;
  auto object = parse_object(text);
  if (!object) return usage_error("{}: {}", name, object.error().message);
  for (const auto& [key, value] : object->items()) {
    if (const auto status = read_key(key, value, request); !status) {
      return usage_error("{}: {}", name, status.error().message);
    }
  }
  return request;
}

Result<std::string> read_config(const std::string& path) {
  auto file = Fd::open(path, O_RDONLY);
  if (!file) return usage_error("--config: {}", file.error().message);
  std::string text;
  std::array<char, 4096> part{};
  while (text.size() <= kMaxConfigBytes) {  // to the end, not st_size: it may be a pipe
    const ssize_t n = ::read(file->get(), part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return usage_error("--config: {}", sys_error("read " + path).message);
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
  return usage_error("--config {}: found more than 1 MiB; allowed: a JSON object", path);
}

}  // namespace dvm::tools
