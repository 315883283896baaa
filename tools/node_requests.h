// Requests that move vCPUs, and nodes into and out of the machine.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "vmm/machine.h"

namespace dvm::tools {

// Who starts node processes, and collects them. Threads: any.
class NodeControl {
 public:
  // Starts a node under a free number, which it returns when the node has joined.
  virtual Result<u32> add_node() = 0;

 protected:
  ~NodeControl() = default;
};

bool is_node_request(std::string_view command);
// migrate-vcpu, evacuate, add-node, remove-node. Returns when it is done. `nodes`: null where no
// processes are started.
Result<nlohmann::json> node_request(std::string_view command, const nlohmann::json& request,
                                    vmm::Machine& machine, NodeControl* nodes);

// What they answer, as text.
std::string node_reply_text(std::string_view command, const nlohmann::json& reply);

}  // namespace dvm::tools
