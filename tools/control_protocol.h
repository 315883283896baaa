// What a guest's control socket understands: one JSON object a line in, one out.
//   {"command":"status"}               -> {"ok":true,"name":..}
//   {"command":"fly"}                  -> {"ok":false,"error":".."}
//   {"command":"dump","file":"/f"}     -> {"progress":{"done":0,"total":1}} now and then, then
//                                         {"ok":true,"file":"/f"}
//   {"command":"checkpoint",..}        -> as dump
//   {"command":"console"}              -> {"ok":true,"console":true,..}, then raw bytes both ways
//   {"command":"events","follow":true} -> {"ok":true,"follow":true,"after":0}, then an event a line
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "vmm/machine.h"

namespace dvm::tools {

class GuestDisks;
class LastCheckpoint;
class NodeControl;

// What requests need beside the machine; those that need what is not there are refused.
struct RequestParts {
  const GuestDisks* disks = nullptr;  // for resize-disk
  NodeControl* nodes = nullptr;       // for add-node and remove-node
  LastCheckpoint* checkpoints = nullptr;
};

inline constexpr std::size_t kMaxRequestBytes = 64 * 1024;

// Carries a request out. `pause` answers when every vCPU stands still, which may take a moment.
nlohmann::json handle_request(const nlohmann::json& request, vmm::Machine& machine,
                              const RequestParts& parts = {});
// The reply's line, without the line break. Whatever the text, never throws.
nlohmann::json handle_request_line(const std::string& line, vmm::Machine& machine,
                                   const RequestParts& parts = {});
// One that is carried out by others and may take seconds: not for a thread that others wait for.
bool takes_long(const std::string& line);
nlohmann::json error_reply(const std::string& why);

}  // namespace dvm::tools
