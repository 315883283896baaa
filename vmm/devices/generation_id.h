// Tells the OS that it is no longer the only one that goes on from here: a random number in memory,
// another one in each machine that was made of a checkpoint, and an interrupt when it has changed.
// Microsoft, "Virtual Machine Generation ID" (2012); found by ACPI's VM_Gen_Counter.
#pragma once

#include <array>
#include <type_traits>

#include "fabric/types.h"

namespace dvm::vmm {

using GenerationId = std::array<u8, 16>;

struct GenerationIdState {
  GenerationId id{};
  u64 unread = 0;  // 1: it has changed, and the OS has not looked since
};
static_assert(sizeof(GenerationIdState) == 24);
static_assert(std::is_trivially_copyable_v<GenerationIdState>);

// `announced`: to an OS that runs.
void generation_id_renew(GenerationIdState& state, const GenerationId& id, bool announced);
// A read of 1 to 8 bytes anywhere in its page, which begins with the number; behind it is nothing.
u64 generation_id_read(GenerationIdState& state, u64 offset, u8 size);
// The level of its interrupt, whose edge counts.
bool generation_id_irq(const GenerationIdState& state);

}  // namespace dvm::vmm
