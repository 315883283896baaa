#include "vmm/epoch_record.h"

namespace dvm::vmm {

void open_epoch_record(EpochRecord& record, NetRecord& net, u32 period_ms) {
  record.word.store(EpochWord{}.packed());
  record.period_ms.store(period_ms);
  record.log[EpochWord{}.epoch % 2].store(next_log_number(0, 0, EpochWord{}.epoch));
  for (auto& release : net.release) release.store(0);
}

void ask_to_roll_back(EpochRecord& record) {
  record.figures.roll_asked_ns.store(fabric::monotonic_ns());
  for (u64 seen = record.word.load();;) {
    const auto after = epoch_after(EpochWord::unpack(seen), EpochStep::roll_back);
    if (record.word.compare_exchange_weak(seen, after->packed())) break;
  }
  fabric::ring(record.bell);
}

Status check_record(const EpochRecord& record, const fabric::RecordPlace& place) {
  const u64 packed = record.word.load();
  const EpochWord word = EpochWord::unpack(packed);
  if (word.epoch == 0 || word.stage > EpochStage::rolling || word.packed() != packed)
    return place.wrong(&record.word, "epoch {}, stage {}", word.epoch,
                       static_cast<u32>(word.stage));
  const u32 period = record.period_ms.load();
  if (period < kLeastEpochMs || period > kMostEpochMs)
    return place.wrong(&record.period_ms, "epochs of {} ms", period);
  const u32 number = record.log[word.epoch % 2].load();
  if (number % 2 != word.epoch % 2)
    return place.wrong(&record.log[word.epoch % 2], "epoch {} has the number {} in the undo log",
                       word.epoch, number);
  return {};
}

}  // namespace dvm::vmm
