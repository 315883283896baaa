#include "vmm/pv_eoi.h"

namespace dvm::vmm {
namespace {

// LapicState::pv_eoi_armed; an interrupt that is being ended has its vector in bits 8 to 15.
enum : u32 { kOff, kArmed, kArming, kEnding, kDisarming };

u8* word_of(Machine& machine, const LapicState& lapic) {
  const auto word = machine.memory().span(lapic.pv_eoi & ~3ull, 1);
  return word ? reinterpret_cast<u8*>(word->data()) : nullptr;
}

void end(Machine& machine, VcpuRecord& v, u8 vector) {
  const u32 bit = 1u << (vector % 32);
  v.lapic.isr[vector / 32] &= ~bit;
  if ((v.inbox.tmr[vector / 32].load(std::memory_order_acquire) & bit) != 0)
    machine.end_of_interrupt(vector);
}

}  // namespace

void pv_eoi_before_entry(Machine& machine, u32 vcpu) {
  VcpuRecord& v = machine.state().vcpus[vcpu];
  if ((v.lapic.pv_eoi & 1) == 0 || lapic_any_requested(v.inbox)) return;
  const auto vector = lapic_highest_in_service(v.lapic);
  if (!vector || (v.inbox.tmr[*vector / 32].load() & (1u << (*vector % 32))) != 0) return;
  u8* const word = word_of(machine, v.lapic);
  if (word == nullptr) return;
  v.lapic.pv_eoi_armed = kArming;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  __atomic_store_n(word, u8{1}, __ATOMIC_RELEASE);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  v.lapic.pv_eoi_armed = kArmed;
}

void pv_eoi_after_exit(Machine& machine, u32 vcpu) {
  VcpuRecord& v = machine.state().vcpus[vcpu];
  u32& armed = v.lapic.pv_eoi_armed;
  if (armed == kOff) return;
  u8* const word = word_of(machine, v.lapic);
  if (armed == kArmed && word != nullptr) {
    const auto vector = lapic_highest_in_service(v.lapic);
    const bool ended = vector && (__atomic_load_n(word, __ATOMIC_ACQUIRE) & 1) == 0;
    armed = ended ? kEnding | u32{*vector} << 8 : u32{kDisarming};
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);  // what was decided stands before it is done
  if ((armed & 0xff) == kEnding) {
    end(machine, v, static_cast<u8>(armed >> 8));
  } else if (word != nullptr) {
    __atomic_store_n(word, u8{0}, __ATOMIC_RELEASE);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  armed = kOff;
}

}  // namespace dvm::vmm
