#include "tools/node_requests.h"

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "migration/evacuation.h"

namespace dvm::tools {
namespace {

using migration::MoveReport;
using nlohmann::json;
using vmm::Machine;
using vmm::NodeStage;

constexpr u64 kLeaveLimitNs = 30'000'000'000;

Result<u32> number_of(const json& request, const char* name) {
  const auto it = request.find(name);
  if (it == request.end() || !it->is_number_integer() || *it < 0 || *it > 0xffff)
    return error("{}: allowed: a number", name);
  return it->get<u32>();
}

json move_json(const MoveReport& move) {
  return {{"vcpu", move.vcpu},
          {"from", move.from},
          {"to", move.to},
          {"moved", move.moved},
          {"pause_ns", move.pause_ns}};
}

Result<json> do_migrate(const json& request, Machine& machine) {
  DVM_ASSIGN(const u32 vcpu, number_of(request, "vcpu"));
  DVM_ASSIGN(const u32 to, number_of(request, "to"));
  DVM_ASSIGN(const MoveReport move, migration::move_vcpu(machine, vcpu, to));
  return move_json(move);
}

Result<json> do_evacuate(u32 node, Machine& machine) {
  DVM_ASSIGN(const auto report, migration::evacuate(machine, node));
  json moves = json::array();
  for (const MoveReport& move : report.moves) moves.push_back(move_json(move));
  return json{{"node", node}, {"moves", std::move(moves)}};
}

// The launcher takes the node off when it has collected its process.
Result<json> do_remove(u32 node, Machine& machine, NodeControl* nodes) {
  if (nodes == nullptr) return error("the guest's processes are not to be reached");
  DVM_ASSIGN(const json evacuated, do_evacuate(node, machine));
  DVM_TRY(migration::ask_to_leave(machine, node));
  const u64 until = fabric::monotonic_ns() + kLeaveLimitNs;
  while (machine.state().nodes[node].stage.load() != NodeStage::none) {
    if (fabric::monotonic_ns() > until) return error("node {} is empty, but does not end", node);
    if (machine.state().control.phase.load() == vmm::Phase::stopped)
      return error("the guest has stopped");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return evacuated;
}

Result<json> do_add(Machine&, NodeControl* nodes) {
  if (nodes == nullptr) return error("the guest's processes are not to be reached");
  DVM_ASSIGN(const u32 node, nodes->add_node());
  return json{{"node", node}};
}

}  // namespace

bool is_node_request(std::string_view command) {
  constexpr std::array<std::string_view, 4> kNames = {"migrate-vcpu", "evacuate", "add-node",
                                                      "remove-node"};
  return std::ranges::find(kNames, command) != kNames.end();
}

Result<json> node_request(std::string_view command, const json& request, Machine& machine,
                          NodeControl* nodes) {
  const auto carry_out = [&]() -> Result<json> {
    if (command == "migrate-vcpu") return do_migrate(request, machine);
    if (command == "add-node") return do_add(machine, nodes);
    DVM_ASSIGN(const u32 node, number_of(request, "node"));
    return command == "evacuate" ? do_evacuate(node, machine) : do_remove(node, machine, nodes);
  };
  auto done = carry_out();
  if (!done.ok()) return error("{}: {}", command, done.error().message);
  return done;
}

std::string node_reply_text(std::string_view command, const json& reply) {
  if (command == "migrate-vcpu") {
    const u64 vcpu = reply.at("vcpu").get<u64>(), to = reply.at("to").get<u64>();
    if (!reply.at("moved").get<bool>()) return fmt::format("vCPU {} is on node {}\n", vcpu, to);
    return fmt::format("vCPU {} moved from node {} to node {}; it stood still for {} us\n", vcpu,
                       reply.at("from").get<u64>(), to, reply.at("pause_ns").get<u64>() / 1000);
  }
  const u64 node = reply.at("node").get<u64>();
  if (command == "add-node") return fmt::format("node {} is there\n", node);
  return fmt::format("node {} {}; {} vCPUs moved\n", node,
                     command == "evacuate" ? "is empty" : "has left", reply.at("moves").size());
}

}  // namespace dvm::tools
