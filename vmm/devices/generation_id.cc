#include "vmm/devices/generation_id.h"

namespace dvm::vmm {

void generation_id_renew(GenerationIdState& state, const GenerationId& id, bool announced) {
  state.id = id;
  state.unread = announced ? 1 : 0;
}

u64 generation_id_read(GenerationIdState& state, u64 offset, u8 size) {
  u64 value = 0;
  for (u8 i = 0; i < size && offset + i < state.id.size(); ++i)
    value |= u64{state.id[offset + i]} << (8 * i);
  if (offset < state.id.size()) state.unread = 0;
  return value;
}

bool generation_id_irq(const GenerationIdState& state) { return state.unread != 0; }

}  // namespace dvm::vmm
