// dvm-fault: makes something go wrong with a running guest, and says what became of it.
#include <cstdio>

#include "fabric/point_names.h"
#include "tools/exit_code.h"
#include "tools/fault_command_line.h"
#include "tools/guest_connection.h"
#include "tools/json_text.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

Status list_points(bool as_json) {
  if (as_json) return print_text(to_line({{"points", fabric::kPointNames}}) + "\n");
  std::string text;
  for (const auto name : fabric::kPointNames) text += fmt::format("{}\n", name);
  return print_text(text);
}

Status report(const std::string& guest, const json& reply, bool as_json) {
  std::string text, failed;
  for (const json& fault : reply.at("faults")) {
    const std::string line =
        fmt::format("{}: fault {}: {}: {}", guest, fault.at("number").get<u64>(),
                    fault.at("fault").get<std::string>(), fault.at("state").get<std::string>());
    const std::string why = fault.value("why", "");
    if (!why.empty() && failed.empty()) failed = fmt::format("{}: {}", line, why);
    if (why.empty()) text += line + "\n";
  }
  DVM_TRY(print_text(as_json ? to_line(reply) + "\n" : text));
  if (!failed.empty()) return error("{}", failed);
  return {};
}

Status inject(const FaultCommandLine& line) {
  DVM_ASSIGN(const auto guest, find_guest(line.name));
  DVM_ASSIGN(auto connection, GuestConnection::open(guest));
  json request = line.plan;
  request["command"] = "fault";
  DVM_ASSIGN(const json reply, connection.ask(request));
  return report(guest.name, reply, line.json);
}

int run(const std::vector<std::string>& words) {
  Status status;
  const auto line = parse_fault_command_line(words);
  if (!line.ok()) {
    status = line.error();
  } else if (line->help) {
    status = print_text(fault_help());
  } else if (line->version) {
    status = print_text("dvm-fault " DVM_VERSION "\n");
  } else if (line->points) {
    status = list_points(line->json);
  } else {
    status = inject(*line);
  }
  if (status.ok()) return kExitOk;
  say_line("dvm-fault", status.error().message);
  return exit_code_of(status.error());
}

}  // namespace
}  // namespace dvm::tools

int main(int argc, char** argv) {
  try {
    return dvm::tools::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    dvm::tools::say_line("dvm-fault", e.what());
    return dvm::tools::kExitError;
  }
}
