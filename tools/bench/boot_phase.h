// The phases of a PC's way from its reset to a system that answers, as its serial console tells
// them. Pure.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/types.h"

namespace dvm::tools {

// Each names the instant at which it has come so far; in this order. What lies before an instant
// is its phase: "kernel" is the time until the kernel's first line.
enum class BootPhase : u8 { panic, firmware, loader, kernel, init, systemd, login, shell, running };
inline constexpr std::size_t kBootPhases = 9;
constexpr std::size_t index_of(BootPhase phase) { return static_cast<std::size_t>(phase); }
const char* phase_name(BootPhase phase);

// What is typed at the shell so that the console tells when everything that starts has started.
// Its echo must not be taken for its answer.
extern const char* const kAskSystemState;

// One boot's console. A phase that shows nothing is left out; none comes after a later one.
class PhaseWatch {
 public:
  // The output goes on; the phases that this part completes.
  std::vector<BootPhase> feed(std::string_view part);
  // What systemd said of itself when it was asked: "running", "degraded". Empty before.
  const std::string& system_state() const { return state_; }
  bool panicked() const { return panicked_; }  // again, after the boot began
  // The last of all that was fed, for people.
  std::string tail() const;

 private:
  std::optional<std::size_t> end_of(BootPhase phase);

  std::string text_;
  std::size_t from_ = 0;  // all before belongs to phases that were seen
  std::size_t next_ = 0;  // of BootPhase
  std::string state_;
  bool panicked_ = false;
};

}  // namespace dvm::tools
