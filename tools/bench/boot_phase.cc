#include "tools/bench/boot_phase.h"

namespace dvm::tools {
namespace {

struct Sign {
  const char* name;
  std::string_view text;
};

// The last words are the shell's prompt and what it answers.
constexpr std::array<Sign, kBootPhases> kSigns = {{
    {"panic", "Kernel panic - not syncing"},
    {"firmware", "SeaBIOS (version"},
    {"loader", "Booting from Hard Disk"},
    {"kernel", "Linux version "},
    {"init", "Run /init as init process"},
    {"systemd", "systemd[1]: "},
    {"login", " login: "},
    {"shell", "~# "},
    {"running", "DVM-SYSTEM-"},
}};

std::string_view sign_of(BootPhase phase) { return kSigns[index_of(phase)].text; }

}  // namespace

const char* const kAskSystemState = R"(echo DVM-"SYSTEM"-$(systemctl is-system-running --wait))";

const char* phase_name(BootPhase phase) { return kSigns[index_of(phase)].name; }

std::optional<std::size_t> PhaseWatch::end_of(BootPhase phase) {
  const std::string_view sign = sign_of(phase);
  const std::size_t at = text_.find(sign, from_);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t after = at + sign.size();
  if (phase != BootPhase::running) return after;
  const std::size_t end = text_.find_first_of("\r\n", after);  // its line may not be whole yet
  if (end == std::string::npos) return std::nullopt;
  state_ = text_.substr(after, end - after);
  return end;
}

std::vector<BootPhase> PhaseWatch::feed(std::string_view part) {
  text_ += part;
  std::vector<BootPhase> reached;
  for (std::size_t i = next_; i < kBootPhases; ++i) {
    const auto phase = static_cast<BootPhase>(i);
    const auto end = end_of(phase);
    if (!end) continue;
    reached.push_back(phase);
    from_ = *end;
    next_ = i + 1;
  }
  if (next_ > index_of(BootPhase::firmware) && !panicked_)
    panicked_ = text_.find(sign_of(BootPhase::panic), from_) != std::string::npos;
  return reached;
}

std::string PhaseWatch::tail() const {
  constexpr std::size_t kBytes = 400;
  return text_.size() <= kBytes ? text_ : text_.substr(text_.size() - kBytes);
}

}  // namespace dvm::tools
