#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <queue>
#include <set>

#include "vmm/epoch_record.h"

namespace dvm::vmm {
namespace {

constexpr auto kSteps =
    std::to_array({EpochStep::stop, EpochStep::close, EpochStep::commit, EpochStep::call_off,
                   EpochStep::roll_back, EpochStep::restored});

TEST(EpochWord, PacksAndUnpacks) {
  const EpochWord word{0x8000'0001, EpochWord::kTurns - 1, EpochStage::rolling};
  EXPECT_EQ(EpochWord::unpack(word.packed()), word);
}

// All words that can be reached in a few epochs, whoever takes which step when.
TEST(EpochWord, OnlyACommitMovesTheEpochOnAndOnlyFromClosing) {
  std::set<u64> seen;
  std::queue<EpochWord> next;
  next.push({});
  while (!next.empty()) {
    const EpochWord w = next.front();
    next.pop();
    if (w.epoch > 4 || w.turn > 6 || !seen.insert(w.packed()).second) continue;
    for (const EpochStep step : kSteps) {
      const auto after = epoch_after(w, step);
      if (!after) continue;
      const bool commits = step == EpochStep::commit;
      EXPECT_EQ(after->epoch, w.epoch + (commits ? 1u : 0u));
      EXPECT_TRUE(!commits || w.stage == EpochStage::closing);
      // Nobody goes on from the middle of an epoch's end but by committing it or calling it off.
      const bool goes_on = after->stage == EpochStage::open && w.stage == EpochStage::closing;
      EXPECT_TRUE(!goes_on || commits || step == EpochStep::call_off);
      EXPECT_TRUE(w.stage != EpochStage::rolling || step == EpochStep::restored ||
                  step == EpochStep::roll_back);
      // An answer to what was asked before is none to what is asked now.
      const bool asks = step == EpochStep::stop || step == EpochStep::roll_back;
      EXPECT_EQ(after->turn != w.turn, asks);
      next.push(*after);
    }
  }
  EXPECT_GT(seen.size(), 50u);
}

TEST(EpochWord, EachEndThatIsTriedHasANumberOfItsOwnInTheHalfOfItsEpoch) {
  std::array<u32, 2> numbers{};
  std::set<u32> all;
  for (u32 epoch = 1, tried = 0; epoch < 20; epoch += ++tried % 3 == 0 ? 1 : 0) {
    const u32 next = next_log_number(numbers[0], numbers[1], epoch);
    EXPECT_EQ(next % 2, epoch % 2);
    EXPECT_TRUE(all.insert(next).second);
    EXPECT_GT(next, *std::max_element(numbers.begin(), numbers.end()));
    numbers[epoch % 2] = next;
  }
}

TEST(EpochWord, AStepFromAWordThatHasMovedOnIsNotTaken) {
  std::atomic<u64> word{EpochWord{}.packed()};
  const EpochWord first;
  EXPECT_TRUE(take_epoch_step(word, first, EpochStep::stop));
  EXPECT_FALSE(take_epoch_step(word, first, EpochStep::stop));
  EXPECT_FALSE(take_epoch_step(word, EpochWord::unpack(word.load()), EpochStep::commit));
}

}  // namespace
}  // namespace dvm::vmm
