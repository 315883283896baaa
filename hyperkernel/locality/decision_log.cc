#include "hyperkernel/locality/decision_log.h"

#include <algorithm>
#include <bit>

namespace dvm::locality {
namespace {

constexpr std::array<std::string_view, kOutcomes> kOutcomeNames = {"asked", "done", "refused"};
using Words = std::array<u64, DecisionSlot::kWords>;

u64 pack(Outcome outcome, u64 took_us) { return static_cast<u64>(outcome) | took_us << 8; }

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  const auto i = static_cast<std::size_t>(outcome);
  return i < kOutcomeNames.size() ? kOutcomeNames[i] : "unknown";
}

u64 DecisionLog::append(const Decision& decision, Outcome outcome) {
  const u64 n = tail.load(std::memory_order_relaxed);
  DecisionSlot& slot = slots[n % kSlots];
  slot.number.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  const auto words = std::bit_cast<Words>(decision);
  for (std::size_t i = 0; i < words.size(); ++i)
    slot.words[i].store(words[i], std::memory_order_relaxed);
  slot.outcome.store(pack(outcome, 0), std::memory_order_relaxed);
  slot.number.store(n + 1, std::memory_order_release);
  tail.store(n + 1, std::memory_order_release);
  count(outcome);
  return n + 1;
}

void DecisionLog::count(Outcome outcome) {
  if (outcome == Outcome::done) done.fetch_add(1, std::memory_order_relaxed);
  if (outcome == Outcome::refused) refused.fetch_add(1, std::memory_order_relaxed);
}

void DecisionLog::settle(u64 number, Outcome outcome, u64 took_us) {
  if (number == 0) return;
  count(outcome);
  DecisionSlot& slot = slots[(number - 1) % kSlots];
  if (slot.number.load(std::memory_order_relaxed) != number) return;
  slot.outcome.store(pack(outcome, took_us), std::memory_order_release);
}

void DecisionLog::read(u64 after, const std::function<void(const LoggedDecision&)>& each) const {
  const u64 end = tail.load(std::memory_order_acquire);
  const u64 oldest = end > kSlots ? end - kSlots : 0;
  for (u64 n = std::max(after, oldest); n < end; ++n) {
    const DecisionSlot& slot = slots[n % kSlots];
    const u64 number = slot.number.load(std::memory_order_acquire);
    Words words;
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = slot.words[i].load(std::memory_order_relaxed);
    const u64 outcome = slot.outcome.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (number != n + 1 || slot.number.load(std::memory_order_relaxed) != number) continue;
    const LoggedDecision logged{number, std::bit_cast<Decision>(words),
                                static_cast<Outcome>(outcome & 0xff), outcome >> 8};
    if (is_sound(logged.decision) && (outcome & 0xff) < kOutcomes) each(logged);
  }
}

}  // namespace dvm::locality
