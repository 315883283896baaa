#include "tools/policy_request.h"

#include <nlohmann/json.hpp>

namespace dvm::tools {

using nlohmann::json;

Result<json> policy_request(const json& request, vmm::Machine& machine) {
  auto& policy = machine.locality().policy;
  if (const auto it = request.find("policy"); it != request.end()) {
    if (!it->is_string()) return error("policy: allowed: static, affinity or learned");
    const auto wanted = locality::parse_policy(it->get_ref<const std::string&>());
    if (!wanted) return error("policy: {}", wanted.error().message);
    policy.store(*wanted);
  }
  return json{{"policy", locality::policy_name(policy.load())}};
}

}  // namespace dvm::tools
