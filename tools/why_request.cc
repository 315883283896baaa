#include "tools/why_request.h"

#include <nlohmann/json.hpp>

#include "tools/locality_figures.h"

namespace dvm::tools {
namespace {

using locality::Act;
using locality::Decision;
using nlohmann::json;

json vcpu_or_null(u16 vcpu) { return vcpu == locality::kNoVcpu ? json() : json(vcpu); }

json decision_json(const locality::LoggedDecision& logged) {
  const Decision& d = logged.decision;
  json object = {{"number", logged.number},
                 {"time_ns", d.time_ns},
                 {"act", locality::act_name(d.act)},
                 {"because", locality::because_name(d.because)},
                 {"vcpu", vcpu_or_null(d.vcpu)},
                 {"other", vcpu_or_null(d.other)},
                 {"from", d.from},
                 {"count", d.count},
                 {"outcome", locality::outcome_name(logged.outcome)},
                 {"sentence", locality::sentence(d)}};
  if (d.act == Act::evacuate_node) {
    object["value"] = d.value;
    object["left_ns"] = d.price_ns;
    return object;
  }
  object["to"] = d.to;
  object["gain_ns"] = d.gain_ns;
  object["price_ns"] = d.price_ns;
  if (logged.outcome == locality::Outcome::done) object["pause_us"] = logged.took_us;
  return object;
}

std::string outcome_text(const json& d) {
  const auto outcome = d.at("outcome").get<std::string>();
  if (outcome == "done" && d.contains("pause_us"))
    return fmt::format("done, it stood still for {} us", d.at("pause_us").get<u64>());
  return outcome;
}

}  // namespace

json why_json(vmm::Machine& machine) {
  const auto& record = machine.locality();
  const auto costs = locality::costs_of(record);
  json decisions = json::array();
  record.decisions.read(0, [&](const auto& logged) { decisions.push_back(decision_json(logged)); });
  const json figures = locality_json(machine);
  return {{"policy", figures.at("policy")},
          {"decider", figures.at("decider")},
          {"steps", figures.at("steps")},
          {"seen", figures.at("seen")},
          {"lost", figures.at("lost")},
          {"costs",
           {{"dram_ns", costs.dram_ns},
            {"region_ns", costs.region_ns},
            {"page_move_ns", costs.page_move_ns},
            {"page_share_ns", costs.page_share_ns},
            {"vcpu_move_ns", costs.vcpu_move_ns},
            {"measured", record.costs.dram_ns.load() != 0}}},
          {"decisions", std::move(decisions)}};
}

std::string why_text(const json& reply) {
  const auto& decider = reply.at("decider");
  const auto& c = reply.at("costs");
  const locality::CostModel costs{.dram_ns = c.at("dram_ns").get<double>(),
                                  .region_ns = c.at("region_ns").get<double>(),
                                  .page_move_ns = c.at("page_move_ns").get<double>(),
                                  .page_share_ns = c.at("page_share_ns").get<double>(),
                                  .vcpu_move_ns = c.at("vcpu_move_ns").get<double>()};
  std::string text = fmt::format(
      "policy {}, {}; {} faults seen, {} steps\n{}: {}\n", reply.at("policy").get<std::string>(),
      decider.is_null() ? "nobody decides" : fmt::format("node {} decides", decider.get<u64>()),
      reply.at("seen").get<u64>(), reply.at("steps").get<u64>(),
      c.at("measured").get<bool>() ? "measured" : "taken for", locality::costs_text(costs));
  for (const json& d : reply.at("decisions")) {
    text +=
        fmt::format("[{:12.6f}] {} ({})\n", static_cast<double>(d.at("time_ns").get<u64>()) / 1e9,
                    d.at("sentence").get<std::string>(), outcome_text(d));
  }
  if (reply.at("decisions").empty()) text += "nothing has been decided so far\n";
  return text;
}

}  // namespace dvm::tools
