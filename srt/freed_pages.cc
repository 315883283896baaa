#include "srt/freed_pages.h"

#include <cstring>

namespace dvm::srt {
namespace {

bool keep_block(ReplicaTable& table, const hyperkernel::GuestMemory& ram, u32 boot, u64 gpa) {
  const auto found = table.block_in(static_cast<u16>(boot), gpa);
  if (!found) return false;
  // The count first, as with a read: a write that begins from here on moves it.
  const u64 writes = table.writes(found->key);
  if (table.find(found->key) != found->replica) return false;
  const auto content = ram.span(gpa, kBlockBytes);
  if (!content.ok() || block_sum(content->data()) != found->replica.sum) return false;
  const auto frame = table.keep(found->key, boot);
  if (!frame) return false;
  const auto to = table.kept(*frame);
  std::memcpy(to.data(), content->data(), kBlockBytes);
  const Replica copy{{ReplicaPlace::Kind::kept, 0, *frame}, block_sum(to.data())};
  // The guest may have written to it, having freed it or not.
  return copy.sum == found->replica.sum && table.put(found->key, copy, writes, boot);
}

}  // namespace

u64 keep_blocks(ReplicaTable& table, const hyperkernel::GuestMemory& ram, u32 boot, u64 gpa,
                u64 bytes) {
  u64 kept = 0;
  for (u64 at = 0; at + kPageBytes <= bytes; at += kPageBytes)
    kept += keep_block(table, ram, boot, gpa + at);
  table.figures().freed_kept.fetch_add(kept, std::memory_order_relaxed);
  return kept;
}

}  // namespace dvm::srt
