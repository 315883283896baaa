// dvm-ctl: asks a running guest, and prints its answer.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/console_client.h"
#include "tools/console_feed.h"
#include "tools/copy_files.h"
#include "tools/ctl_command_line.h"
#include "tools/exit_code.h"
#include "tools/guest_connection.h"
#include "tools/guest_fork.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_requests.h"
#include "tools/reply_text.h"
#include "tools/size_text.h"
#include "tools/srt_figures.h"
#include "tools/warm_blocks.h"
#include "tools/why_request.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

Status list_guests(bool as_json) {
  for (const auto& name : remove_stale_guests())
    say_line("dvm-ctl", fmt::format("{}: its dvm-run was killed; what it left is removed", name));
  json guests = json::array();
  for (const RunningGuest& guest : running_guests()) {
    auto connection = GuestConnection::open(guest);
    if (!connection) continue;  // on its way up or down
    auto status = connection->ask({{"command", "status"}});
    if (!status) continue;
    (*status)["pid"] = guest.pid;
    (*status)["uptime_s"] = guest.uptime_s;
    guests.push_back(status.take());
  }
  if (as_json) return print_text(to_line({{"guests", guests}}) + "\n");
  if (guests.empty()) {
    say_line("dvm-ctl", "no guest is running");
    return {};
  }
  return print_text(list_text(guests));
}

Status follow_events(GuestConnection& connection, bool as_json) {
  for (;;) {
    DVM_ASSIGN(const auto line, connection.next_line());
    if (!line) return {};
    const json event = parse_json(*line);
    if (!event.is_object() || !event.contains("event")) return error("an event that is none");
    DVM_TRY(print_text(as_json ? *line + "\n" : event_text(event)));
  }
}

// What writes a file says how far it is once it takes longer than 2 s.
Status write_file(GuestConnection& connection, const std::string& guest,
                  const CtlCommandLine& line) {
  const bool traces = line.command == "trace";
  const std::string_view done = traces ? "traced" : line.command == "dump" ? "dumped" : "saved";
  const auto begin = std::chrono::steady_clock::now();
  bool said = false;
  const std::string file = std::filesystem::absolute(line.file).string();
  json request = {{"command", line.command}, {"file", file}};
  if (line.seconds) request["seconds"] = *line.seconds;
  if (line.stop) request["stop"] = true;
  if (line.incremental) request["incremental"] = true;
  std::optional<CopyFiles> copies;
  if (line.disks) {
    DVM_ASSIGN(const json status, connection.ask({{"command", "status"}}));
    const std::string stem = std::filesystem::path(file).filename().string();
    DVM_ASSIGN(copies, CopyFiles::make(status, line.disks, stem));
    request["disks"] = copies->request();
  }
  const auto reply = connection.ask(request, [&](const json& p) {
    if (std::chrono::steady_clock::now() - begin < std::chrono::seconds(2)) return;
    const u64 unit = traces ? 1000 : kMiB;
    fmt::print(stderr, "\rdvm-ctl: {}: {} {} of {} {}", guest, done, p.at("done").get<u64>() / unit,
               p.at("total").get<u64>() / unit, traces ? "s" : "MiB");
    said = true;
  });
  if (said) fmt::print(stderr, "\n");
  if (!reply) return reply.error();
  if (copies) copies->keep();
  return print_text(line.json ? to_line(*reply) + "\n"
                              : fmt::format("{}: {} to {}\n", guest, done, file));
}

Status fork(GuestConnection& connection, const std::string& guest, const CtlCommandLine& line) {
  DVM_ASSIGN(const json reply, fork_guest(connection, guest, line));
  if (line.json) return print_text(to_line(reply) + "\n");
  std::string text;
  for (const auto& clone : reply.at("clones"))
    text += fmt::format("{}: runs, after {:.0f} ms\n", clone.at("name").get<std::string>(),
                        clone.at("ms").get<double>());
  return print_text(text);
}

std::string reply_text(const CtlCommandLine& line, const std::string& guest, const json& reply) {
  if (line.json) return to_line(reply) + "\n";
  if (line.command == "status") return status_text(reply);
  if (line.command == "why") return why_text(reply);
  if (line.command == "srt") return line.blocks ? blocks_text(reply) : srt_text(reply);
  if (line.command == "pages") return pages_text(reply);
  if (line.command == "metrics") return reply.at("text").get<std::string>();
  if (line.command == "events") {
    std::string text;
    for (const auto& event : reply.at("events")) text += event_text(event);
    return text;
  }
  if (line.command == "resize-disk") {
    return fmt::format("{}: disk {}: {}\n", guest, reply.at("disk").get<u64>(),
                       format_size(reply.at("bytes").get<u64>()));
  }
  if (is_node_request(line.command)) return guest + ": " + node_reply_text(line.command, reply);
  if (line.command == "balloon") return guest + ": balloon: " + balloon_text(reply);
  if (line.command == "policy")
    return guest + ": policy " + reply.at("policy").get<std::string>() + "\n";
  if (line.command == "shutdown") return guest + ": asked to shut down\n";
  return guest + ": " + reply.at("state").get<std::string>() + "\n";
}

Status carry_out(const CtlCommandLine& line) {
  if (line.command == "list") return list_guests(line.json);
  DVM_ASSIGN(const auto guest, find_guest(line.name));
  DVM_ASSIGN(auto connection, GuestConnection::open(guest));
  if (line.command == "console") {
    return run_console(std::move(connection), guest, line.history.value_or(kDefaultHistory),
                       line.port);
  }
  if (writes_file(line)) return write_file(connection, guest.name, line);
  if (line.command == "fork") return fork(connection, guest.name, line);
  json request = {{"command", line.command}};
  if (line.blocks) request["blocks"] = true;
  if (line.follow) request["follow"] = true;
  if (line.command == "migrate-vcpu") request["vcpu"] = *line.number;
  if (line.to) request["to"] = *line.to;
  if (line.command == "evacuate" || line.command == "remove-node") request["node"] = *line.number;
  if (line.command == "balloon" && line.size) request["bytes"] = *line.size;
  if (!line.policy.empty()) request["policy"] = line.policy;
  if (line.command == "resize-disk") {
    request["disk"] = line.disk;
    if (line.size) request["bytes"] = *line.size;
    if (!line.size) request["to_file"] = true;
  }
  DVM_ASSIGN(const json reply, connection.ask(request));
  if (line.follow) return follow_events(connection, line.json);
  return print_text(reply_text(line, guest.name, reply));
}

int run(const std::vector<std::string>& words) {
  Status status;
  const auto line = parse_ctl_command_line(words);
  if (!line.ok()) {
    status = line.error();
  } else if (line->help) {
    status = print_text(ctl_help());
  } else if (line->version) {
    status = print_text("dvm-ctl " DVM_VERSION "\n");
  } else {
    status = carry_out(*line);
  }
  if (status.ok()) return kExitOk;
  say_line("dvm-ctl", status.error().message);
  return exit_code_of(status.error());
}

}  // namespace
}  // namespace dvm::tools

int main(int argc, char** argv) {
  try {
    return dvm::tools::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    dvm::tools::say_line("dvm-ctl", e.what());
    return dvm::tools::kExitError;
  }
}
