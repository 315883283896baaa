#include "tools/bench/restore_answer.h"

#include <chrono>

#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"

namespace dvm::tools {

std::string answering_append(u64 memory) {
  constexpr u64 kUsedPart = 4;
  return script_append(
      fmt::format("yes {0} | head -c {1} > /used\necho {2}\nwhile read line; do echo {0}; done\n",
                  kAnswer, memory / kUsedPart, kReady));
}

Status await_line(const char* line, const std::function<Result<std::string>(int)>& read,
                  double limit_s) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPatienceMs = 100;
  const auto end = Clock::now() + std::chrono::duration<double>(limit_s);
  MarkerWatch watch{std::string(line)};
  while (Clock::now() < end) {
    DVM_ASSIGN(const std::string part, read(kPatienceMs));
    if (watch.feed(part)) return {};
  }
  return error("no {} within {} s; the end of its output: {}", line, limit_s, watch.tail());
}

}  // namespace dvm::tools
