// Threat: a pool that says with anything how its guest was launched. Whoever resumes it refuses
// that, or has settings that are in their ranges.
//
// Input: the launch's text.
#include "tests/fuzz/input.h"
#include "tools/run_command_line.h"
#include "vmm/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto settings = tools::settings_from_launch(text, {}, "fuzz");
  if (!settings.ok()) {
    FUZZ_CHECK(!settings.error().message.empty());
    return 0;
  }
  FUZZ_CHECK(settings->cpus >= 1 && settings->cpus <= vmm::layout::kMaxVcpus);
  FUZZ_CHECK(settings->nodes >= 1 && settings->nodes <= vmm::layout::kMaxNodes);
  FUZZ_CHECK(settings->placement.size() == settings->cpus);
  FUZZ_CHECK(settings->name.find('/') == std::string::npos && !settings->name.empty());
  FUZZ_CHECK(settings->launch == text);
  return 0;
}
