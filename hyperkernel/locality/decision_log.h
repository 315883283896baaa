// The last decisions and what became of them, in the pool: for `dvm-ctl why`.
//
// Written by whoever has the role (locality_record.h), one at a time; read by anyone. A slot's
// number is stored last: a decision whose writer died is not there.
#pragma once

#include <array>
#include <atomic>
#include <functional>

#include "hyperkernel/locality/decision.h"

namespace dvm::locality {

enum class Outcome : u8 {
  asked,    // of who carries it out
  done,     // `took_us`: a vCPU's pause
  refused,  // by who carries it out, or it came to nothing
};
inline constexpr u32 kOutcomes = 3;
std::string_view outcome_name(Outcome outcome);

struct DecisionSlot {
  static constexpr std::size_t kWords = sizeof(Decision) / sizeof(u64);
  std::atomic<u64> number;  // of the decision, from 1
  std::array<std::atomic<u64>, kWords> words;
  std::atomic<u64> outcome;  // Outcome | took_us << 8
};
static_assert(sizeof(DecisionSlot) == 72);

struct LoggedDecision {
  u64 number = 0;
  Decision decision;
  Outcome outcome = Outcome::asked;
  u64 took_us = 0;
};

// All zero is a valid start.
struct DecisionLog {
  static constexpr u64 kSlots = 128;
  std::atomic<u64> tail;  // decisions ever made
  // Of these, by what they came to. Of one whose writer died first that is not known.
  std::atomic<u64> done, refused;
  std::array<DecisionSlot, kSlots> slots;

  // Its number.
  u64 append(const Decision& decision, Outcome outcome);
  // Of one that is still in the log.
  void settle(u64 number, Outcome outcome, u64 took_us = 0);
  // Those after `after`, oldest first; damaged ones are left out.
  void read(u64 after, const std::function<void(const LoggedDecision&)>& each) const;

 private:
  void count(Outcome outcome);
};
static_assert(sizeof(DecisionLog) == 24 + 72 * DecisionLog::kSlots);

}  // namespace dvm::locality
