#include "tools/control_protocol.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "tools/balloon_request.h"
#include "tools/checkpoint_disks.h"
#include "tools/console_feed.h"
#include "tools/control_fault.h"
#include "tools/disk_resize.h"
#include "tools/event_text.h"
#include "tools/guest_checkpoint.h"
#include "tools/json_text.h"
#include "tools/memory_dump.h"
#include "tools/metrics.h"
#include "tools/node_requests.h"
#include "tools/page_status.h"
#include "tools/policy_request.h"
#include "tools/srt_figures.h"
#include "tools/status.h"
#include "tools/trace_recording.h"
#include "tools/warm_blocks.h"
#include "tools/why_request.h"
#include "vmm/pool_check.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using vmm::Machine;
using vmm::Phase;

Error wrong_state(Machine& machine, std::string_view command, std::string_view allowed) {
  return error("{}: the guest is {}; allowed: when it is {}", command,
               phase_name(machine.state().control.phase.load()), allowed);
}

Result<json> do_status(Machine& machine, const GuestDisks* disks) {
  json status = status_json(machine);
  status["disks"] = disks == nullptr ? json::array() : disks->to_json();
  return status;
}

Result<json> do_metrics(const json&, Machine& machine) {
  return json{{"text", metrics_text(machine)}};
}

Result<json> do_events(const json& request, Machine& machine) {
  u64 after = 0;
  if (const auto it = request.find("after"); it != request.end()) {
    if (!it->is_number_integer() || *it < 0)
      return error("events: after: allowed: a sequence number");
    after = it->get<u64>();
  }
  if (const auto it = request.find("follow"); it != request.end()) {
    if (!it->is_boolean()) return error("events: follow: allowed: true or false");
    if (it->get<bool>()) return json{{"follow", true}, {"after", after}};
  }
  json events = json::array();
  fabric::read_events(machine.events(), after,
                      [&](const fabric::Event& event) { events.push_back(event_json(event)); });
  return json{{"events", std::move(events)}};
}

// The last `history` bytes of what was printed before come first.
Result<json> do_console(const json& request, Machine& machine) {
  u64 history = kDefaultHistory;
  if (const auto it = request.find("history"); it != request.end()) {
    if (!it->is_number_unsigned() || it->get<u64>() > ConsoleFeed::kBytes)
      return error("console: history: allowed: 0 to {} bytes", ConsoleFeed::kBytes);
    history = it->get<u64>();
  }
  std::string port = machine.has_virtio_console() ? "virtio" : "serial";
  if (const auto it = request.find("port"); it != request.end()) {
    if (*it != "serial" && *it != "virtio")
      return error("console: port: allowed: \"serial\" or \"virtio\"");
    if (*it == "virtio" && port != "virtio")
      return error("console: the guest has no virtio console; allowed: the serial port");
    port = it->get<std::string>();
  }
  return json{{"console", true}, {"history", history}, {"port", port}};
}

// The terminal on which somebody looks at the virtio console.
Result<json> do_console_size(const json& request, Machine& machine) {
  const auto count = [&](const char* name) -> u64 {
    const auto it = request.find(name);
    return it != request.end() && it->is_number_unsigned() ? it->get<u64>() : 0;
  };
  const u64 columns = count("columns"), rows = count("rows");
  if (columns == 0 || columns > UINT16_MAX || rows == 0 || rows > UINT16_MAX)
    return error("console-size: allowed: columns and rows of 1 to 65535");
  if (!machine.has_virtio_console()) return error("console-size: the guest has no virtio console");
  machine.set_console_size({static_cast<u16>(columns), static_cast<u16>(rows)});
  return json{{"columns", columns}, {"rows", rows}};
}

Result<json> do_pause(const json&, Machine& machine) {
  DVM_TRY(pause_guest(machine, "pause"));
  return json{{"state", "paused"}};
}

Result<std::string> file_of(const json& request, std::string_view command) {
  const auto file = request.find("file");
  if (file == request.end() || !file->is_string() ||
      !file->get_ref<const std::string&>().starts_with('/') ||
      file->get_ref<const std::string&>().find('\0') != std::string::npos)
    return error("{}: file: allowed: an absolute path", command);
  return file->get<std::string>();
}

// Carried out by the connection, which tells how far it is (tools/control_client.cc).
Result<json> do_dump(const json& request, Machine& machine) {
  DVM_ASSIGN(const std::string file, file_of(request, "dump"));
  if (const auto it = request.find("format"); it != request.end() && *it != "elf")
    return error("dump: format: allowed: elf");
  const Phase phase = machine.state().control.phase.load();
  if (phase != Phase::running && phase != Phase::paused)
    return wrong_state(machine, "dump", "running or paused");
  return json{{"dump", file}};
}

// As do_dump.
Result<json> do_checkpoint(const json& request, Machine& machine, const RequestParts& parts) {
  DVM_ASSIGN(const std::string file, file_of(request, "checkpoint"));
  CheckpointOptions options{.path = file};
  for (const auto* const flag : {"stop", "incremental", "fork"}) {
    const auto it = request.find(flag);
    if (it == request.end()) continue;
    if (!it->is_boolean()) return error("checkpoint: {}: allowed: true or false", flag);
    if (!it->get<bool>()) continue;
    if (flag == std::string_view("stop")) {
      options.stop = true;
    } else if (flag == std::string_view("fork")) {
      options.fork = true;
    } else {
      options.base = parts.checkpoints == nullptr ? "" : parts.checkpoints->path();
    }
  }
  if (options.fork && (options.stop || options.base))
    return error("checkpoint: fork: allowed alone");
  auto copies = copies_of(request, parts.disks);
  if (!copies) return error("checkpoint: {}", copies.error().message);
  options.copies = copies.take();
  const Phase phase = machine.state().control.phase.load();
  if (phase != Phase::running && phase != Phase::paused)
    return wrong_state(machine, "checkpoint", "running or paused");
  if (const Status able = check_checkpoint(machine, parts.disks, options); !able.ok())
    return error("checkpoint: {}", able.error().message);
  json reply{{"checkpoint", file}, {"stop", options.stop}, {"fork", options.fork}};
  if (options.base) reply["base"] = *options.base;
  if (!options.copies.empty()) reply["disks"] = request["disks"];
  return reply;
}

// As do_dump.
Result<json> do_trace(const json& request, Machine& machine) {
  DVM_ASSIGN(const std::string file, file_of(request, "trace"));
  u64 seconds = kDefaultTraceSeconds;
  if (const auto it = request.find("seconds"); it != request.end()) {
    if (!it->is_number_unsigned() || it->get<u64>() < 1 || it->get<u64>() > kMaxTraceSeconds)
      return error("trace: seconds: allowed: 1 to {}", kMaxTraceSeconds);
    seconds = it->get<u64>();
  }
  DVM_TRY(check_traceable(machine));
  const Phase phase = machine.state().control.phase.load();
  if (phase == Phase::stopped) return wrong_state(machine, "trace", "not stopped");
  return json{{"trace", file}, {"seconds", seconds}};
}

Result<json> do_srt(const json& request, Machine& machine, const GuestDisks* disks) {
  const auto blocks = request.find("blocks");
  if (blocks == request.end()) return srt_json(machine);
  if (!blocks->is_boolean()) return error("srt: blocks: allowed: true or false");
  return blocks->get<bool>() ? blocks_json(machine, disks) : srt_json(machine);
}

Result<json> do_why(const json&, Machine& machine) { return why_json(machine); }

Result<json> do_resume(const json&, Machine& machine) {
  if (!machine.request_resume()) return wrong_state(machine, "resume", "paused");
  return json{{"state", "running"}};
}

Result<json> do_reset(const json&, Machine& machine) {
  const Phase phase = machine.state().control.phase.load();
  if (phase != Phase::running && phase != Phase::paused) {
    return wrong_state(machine, "reset", "running or paused");
  }
  machine.request_reset();
  return json{{"state", "starting"}};
}

Result<json> do_shutdown(const json&, Machine& machine) {
  if (machine.state().control.phase.load() != Phase::running) {
    return wrong_state(machine, "shutdown", "running");
  }
  machine.press_power_button();
  return json{{"state", "running"}};
}

Result<json> do_stop(const json&, Machine& machine) {
  machine.request_stop(vmm::StopReason::user);
  return json{{"state", "stopped"}};
}

Result<json> do_pages(const json&, Machine& machine) { return pages_json(machine); }

Result<json> do_check(const json&, Machine& machine) {
  const auto damaged = vmm::check_pool(machine);
  if (!damaged.empty()) return error("{}", fmt::join(damaged, "; "));
  return json{{"state", "the pool's metadata is whole"}};
}

struct Command {
  std::string_view name;
  Result<json> (*run)(const json& request, Machine& machine);
};

constexpr std::array<Command, 25> kCommands = {
    {{"status", nullptr},  // which needs more than the machine
     {"console", do_console},
     {"events", do_events},
     {"pause", do_pause},
     {"resume", do_resume},
     {"reset", do_reset},
     {"shutdown", do_shutdown},
     {"stop", do_stop},
     {"metrics", do_metrics},
     {"pages", do_pages},
     {"check", do_check},
     {"dump", do_dump},
     {"trace", do_trace},
     {"why", do_why},
     {"policy", policy_request},
     {"fault", handle_fault_request},
     {"console-size", do_console_size},
     {"balloon", balloon_request},
     // These do, too.
     {"resize-disk", nullptr},
     {"srt", nullptr},
     {"checkpoint", nullptr},
     {"migrate-vcpu", nullptr},
     {"evacuate", nullptr},
     {"add-node", nullptr},
     {"remove-node", nullptr}}};

std::string command_names() {
  std::string names;
  for (const auto& command : kCommands) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", command.name);
  }
  return names;
}

std::vector<std::string_view> members_of(std::string_view command) {
  if (command == "events") return {"command", "follow", "after"};
  if (command == "dump") return {"command", "file", "format"};
  if (command == "checkpoint") return {"command", "file", "stop", "incremental", "fork", "disks"};
  if (command == "trace") return {"command", "file", "seconds"};
  if (command == "console") return {"command", "history", "port"};
  if (command == "console-size") return {"command", "columns", "rows"};
  if (command == "policy") return {"command", "policy"};
  if (command == "srt") return {"command", "blocks"};
  if (command == "balloon") return {"command", "bytes"};
  if (command == "migrate-vcpu") return {"command", "vcpu", "to"};
  if (command == "evacuate" || command == "remove-node") return {"command", "node"};
  if (command == "resize-disk") return {"command", "disk", "bytes", "to_file"};
  return {"command"};
}

// A member nobody reads is a mistake of the caller's that must not pass in silence.
Status check_members(const json& request, std::string_view command) {
  for (const auto& [key, value] : request.items()) {
    if (command == "fault") continue;  // its own parser knows
    const auto allowed = members_of(command);
    if (std::find(allowed.begin(), allowed.end(), key) != allowed.end()) continue;
    return error("{}: unknown member '{}'; allowed: {}", command, key.substr(0, 40),
                 fmt::join(allowed, ", "));
  }
  return {};
}

Result<json> run_request(const json& request, Machine& machine, const RequestParts& parts) {
  if (!request.is_object()) return error("not a JSON object; allowed: {{\"command\": ...}}");
  const auto it = request.find("command");
  if (it == request.end() || !it->is_string()) {
    return error("no command; allowed: {}", command_names());
  }
  const auto& name = it->get_ref<const std::string&>();
  for (const auto& command : kCommands) {
    if (command.name != name) continue;
    DVM_TRY(check_members(request, name));
    if (command.run != nullptr) return command.run(request, machine);
    if (is_node_request(name)) return node_request(name, request, machine, parts.nodes);
    if (name == "status") return do_status(machine, parts.disks);
    if (name == "srt") return do_srt(request, machine, parts.disks);
    if (name == "checkpoint") return do_checkpoint(request, machine, parts);
    return resize_disk(request, machine, parts.disks);
  }
  return error("unknown command '{}'; allowed: {}", name.substr(0, 40), command_names());
}

}  // namespace

bool takes_long(const std::string& line) {
  if (line.size() > kMaxRequestBytes) return false;
  const json request = parse_json(line);
  if (!request.is_object()) return false;
  const auto it = request.find("command");
  return it != request.end() && it->is_string() &&
         is_node_request(it->get_ref<const std::string&>());
}

json error_reply(const std::string& why) { return {{"ok", false}, {"error", why}}; }

json handle_request(const json& request, Machine& machine, const RequestParts& parts) {
  try {
    auto result = run_request(request, machine, parts);
    if (!result) return error_reply(result.error().message);
    json reply = result.take();
    reply["ok"] = true;
    return reply;
  } catch (const std::exception& e) {
    return error_reply(e.what());
  }
}

json handle_request_line(const std::string& line, Machine& machine, const RequestParts& parts) {
  if (line.size() > kMaxRequestBytes) return error_reply("the request is longer than 64 KiB");
  const json request = parse_json(line);
  if (request.is_discarded()) return error_reply("the request is not valid JSON");
  return handle_request(request, machine, parts);
}

}  // namespace dvm::tools
