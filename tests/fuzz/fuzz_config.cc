// Threat: a configuration file with anything in it. It is refused with a message, or every value in
// it is in its range.
//
// Input: the file's text.
#include "tests/fuzz/input.h"
#include "tools/run_config.h"
#include "vmm/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto request = tools::parse_config(text, "fuzz.json");
  if (!request.ok()) {
    FUZZ_CHECK(!request.error().message.empty());
    return 0;
  }
  const auto settings = tools::settle(request.take(), "fuzz");
  if (!settings.ok()) return 0;
  const auto& s = settings.value();
  FUZZ_CHECK(s.cpus >= 1 && s.cpus <= vmm::layout::kMaxVcpus);
  FUZZ_CHECK(s.nodes >= 1 && s.nodes <= vmm::layout::kMaxNodes);
  FUZZ_CHECK(s.memory >= vmm::layout::kMinMemory && s.memory <= vmm::layout::kMaxMemory);
  FUZZ_CHECK(s.placement.size() == s.cpus);
  for (const u16 node : s.placement) FUZZ_CHECK(node < s.nodes);
  FUZZ_CHECK(s.name.find('/') == std::string::npos && !s.name.empty());
  return 0;
}
