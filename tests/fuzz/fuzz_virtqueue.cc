// Threat: a driver that puts anything into its descriptor tables and rings, and changes them while
// the device reads. The device must stay inside guest RAM, do bounded work and keep its own
// indices.
//
// Input: size u8 (log2), flags u8 (1: event index, 2: indirect), placement u8 (how the three areas
// lie), then records until the end: {what u8, gpa u16, length u8, bytes} writes memory; what % 4
// then says what the device does: 0 nothing, 1 pops one chain, 2 pops and returns one, 3 flushes.
#include "tests/fuzz/guest_ram.h"
#include "vmm/virtio/queue.h"

namespace dvm::fuzz {
namespace {

using namespace vmm;

constexpr u64 kRam = 64 * kKiB;

QueueState take_queue(Input& input) {
  QueueState queue = make_queue(make_queue_setup(kMaxQueueSize), 1);
  queue.size = static_cast<u16>(1u << (input.take<u8>() % 9));
  const u8 flags = input.take<u8>();
  queue.event_idx = flags & 1;
  queue.indirect = (flags >> 1) & 1;
  const u8 placement = input.take<u8>();
  queue.desc = 0x1000;
  queue.avail = 0x3000;
  queue.used = 0x4000;
  if ((placement & 1) != 0) queue.used = queue.avail;
  if ((placement & 2) != 0) queue.desc = kRam - 16;
  if ((placement & 4) != 0) queue.avail = input.take<u64>();
  if ((placement & 8) != 0) queue.used = input.take<u64>();
  if ((placement & 16) != 0) queue.desc = input.take<u64>();
  if ((placement & 32) != 0) queue.last_avail = queue.used_idx = queue.published_used = 0xfff0;
  return queue;
}

void check_chain(const QueueState& queue, const Chain& chain, const GuestRam& ram) {
  FUZZ_CHECK(chain.head < queue.size);
  FUZZ_CHECK(chain.count <= kMaxQueueSize);  // 0: empty descriptors only
  FUZZ_CHECK(chain.readable_count <= chain.count);
  for (u16 i = 0; i < chain.count; ++i) {
    FUZZ_CHECK(chain.segments[i].bytes != 0);
    FUZZ_CHECK(ram.holds(chain.segments[i].gpa, chain.segments[i].bytes));
  }
}

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm::fuzz;
  static GuestRam ram(kRam);
  ram.clear();
  Input input(data, size);
  QueueState queue = take_queue(input);
  dvm::u32 outstanding = 0;
  while (!input.empty()) {
    const auto what = input.take<dvm::u8>();
    const dvm::u64 gpa = input.take<dvm::u16>();
    const auto bytes = input.take_bytes(input.take<dvm::u8>());
    if (!bytes.empty()) (void)ram.memory().write(gpa, std::as_bytes(bytes));
    const QueueState before = queue;
    if (what % 4 == 1 || what % 4 == 2) {
      Chain chain{};
      const auto popped = queue_pop(queue, ram.memory(), chain);
      if (!popped.ok()) {
        FUZZ_CHECK(std::memcmp(&queue, &before, sizeof(queue)) == 0);  // as before
        continue;
      }
      if (!popped.value()) continue;
      check_chain(queue, chain, ram);
      FUZZ_CHECK(++outstanding <= queue.size);
      if (what % 4 == 1) continue;
      if (queue_push_used(queue, ram.memory(), chain.head, 1).ok())
        FUZZ_CHECK(queue.used_idx == static_cast<dvm::u16>(before.used_idx + 1));
    } else if (what % 4 == 3) {
      outstanding -= std::min<dvm::u32>(
          outstanding, static_cast<dvm::u16>(queue.used_idx - queue.published_used));
      (void)queue_flush_used(queue, ram.memory());
      (void)queue_republish_used(queue, ram.memory());
    }
  }
  return 0;
}
