#include "tools/ghost_launcher.h"

#include <unistd.h>

#include <charconv>

namespace dvm::tools {

std::vector<std::string> ghost_words(const GhostRequest& wanted, const HostLook& host) {
  std::vector<std::string> words = {fmt::to_string(host.tsc_khz), "dvm-fabric"};
  words.insert(words.end(), wanted.nodes, "dvm-node");
  if (wanted.net) words.emplace_back("dvm-net");
  return words;
}

Result<std::optional<std::vector<std::string>>> wait_as_launcher(
    const std::vector<std::string>& words, Beforehand& beforehand) {
  HostLook host;
  const std::string& khz = words.empty() ? "" : words.front();
  std::from_chars(khz.data(), khz.data() + khz.size(), host.tsc_khz);
  if (host.tsc_khz == 0) return usage_error("{} is for dvm-run --ghosts alone", kGhostWord);
  beforehand.host = host;
  // Whoever started us may end without us, once we are a guest.
  if (::setsid() < 0) return sys_error("setsid");
  for (std::size_t n = 1; n < words.size(); ++n) {
    DVM_ASSIGN(const std::string program, sibling_program(words[n]));
    DVM_TRY(beforehand.ghosts.start(program));
  }
  return await_words();
}

}  // namespace dvm::tools
