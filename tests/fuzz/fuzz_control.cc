// Threat: a client of the control socket that says anything. It is answered, the answer is one line
// of text, and the machine stays a machine.
//
// Input: requests, a line each.
#include <nlohmann/json.hpp>

#include "tests/fuzz/machine_harness.h"
#include "tools/control_protocol.h"
#include "tools/json_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  static fuzz::MachineHarness harness(2);
  harness.reset();
  std::string rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const auto reply = tools::handle_request_line(rest.substr(0, end), harness.machine());
    FUZZ_CHECK(reply.is_object() && reply.contains("ok") && reply["ok"].is_boolean());
    FUZZ_CHECK(reply["ok"].get<bool>() || reply["error"].is_string());
    const std::string line = tools::to_line(reply);
    FUZZ_CHECK(line.find('\n') == std::string::npos);
    rest.erase(0, end + 1);
  }
  harness.check();
  return 0;
}
