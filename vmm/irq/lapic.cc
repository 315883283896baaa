#include "vmm/irq/lapic.h"

#include <bit>

#include "vmm/irq/lapic_registers.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

template <typename Words>
std::optional<u8> highest(const Words& words) {
  for (u32 i = 8; i-- > 0;) {
    const u32 w = words[i];
    if (w != 0) return static_cast<u8>(i * 32 + 31 - static_cast<u32>(std::countl_zero(w)));
  }
  return std::nullopt;
}

constexpr u32 bit_of(u8 vector) { return 1u << (vector % 32); }

u32 x2apic_logical_id(u32 id) { return ((id >> 4) << 16) | (1u << (id & 0xf)); }

// Processor priority (§11.8.3.1): the higher of TPR and the class in service.
u32 processor_priority(const LapicState& s) {
  const u32 in_service = lapic_highest_in_service(s).value_or(0) & 0xf0u;
  return (s.tpr & 0xf0) >= in_service ? s.tpr : in_service;
}

u32 timer_divisor(const LapicState& s) {
  const u32 code = (s.timer_divide & 3) | ((s.timer_divide >> 1) & 4);
  return code == 7 ? 1 : 2u << code;
}

u64 timer_ticks(const LapicState& s, const LapicClock& clock, u32 count) {
  const auto ns = static_cast<u128>(count) * timer_divisor(s);
  const auto ticks = ns * clock.tsc_khz / 1'000'000;
  return ticks == 0 ? 1 : static_cast<u64>(ticks);
}

u32 timer_mode(const LapicState& s) { return (s.lvt[kLvtTimer] >> kTimerModeShift) & 3; }

u32 timer_current(const LapicState& s, const LapicClock& clock) {
  if (s.deadline_tsc == 0 || timer_mode(s) == kTimerTscDeadline || s.deadline_tsc <= clock.tsc)
    return 0;
  const auto left = static_cast<u128>(s.deadline_tsc - clock.tsc) * 1'000'000 / clock.tsc_khz;
  return static_cast<u32>(left / timer_divisor(s));
}

std::optional<LvtIndex> lvt_index(u32 reg) {
  if (reg == kRegLvtCmci) return kLvtCmci;
  if (reg < kRegLvtTimer || reg > kRegLvtError) return std::nullopt;
  return static_cast<LvtIndex>(kLvtTimer + (reg - kRegLvtTimer));
}

void write_lvt(LapicState& s, LvtIndex index, u32 value) {
  const u32 old_mode = timer_mode(s);
  u32 kept =
      value & 0x1'f7ff;  // vector, delivery mode, polarity, trigger, mask; status is read-only
  if (index == kLvtTimer) kept = value & (0x1'00ff | (3u << kTimerModeShift));
  if ((s.svr & kSvrEnabled) == 0) kept |= kLvtMasked;  // §11.4.7.2
  s.lvt[index] = kept;
  // Changing to or from TSC-deadline mode disarms the timer (§11.5.4.1).
  if (index == kLvtTimer && timer_mode(s) != old_mode &&
      (timer_mode(s) == kTimerTscDeadline || old_mode == kTimerTscDeadline)) {
    s.deadline_tsc = 0;
  }
}

void write_svr(LapicState& s, u32 value) {
  s.svr = value & 0x1ff;
  if ((s.svr & kSvrEnabled) != 0) return;
  for (u32& entry : s.lvt) entry |= kLvtMasked;
}

LapicAction write_icr(LapicState& s, u64 value, bool x2apic) {
  s.icr = value & ~(1ull << 12);  // never "send pending"
  return {.ipi = decode_icr(value, x2apic)};
}

void write_timer_initial(LapicState& s, u32 count, const LapicClock& clock) {
  if (timer_mode(s) == kTimerTscDeadline) return;  // ignored in this mode (§11.5.4.1)
  s.timer_initial = count;
  s.deadline_tsc = count == 0 ? 0 : clock.tsc + timer_ticks(s, clock, count);
}

// The registers that only one of the two modes has.
std::optional<LapicAction> write_by_mode(LapicState& s, LapicInbox& inbox, u32 reg, u64 value,
                                         bool x2apic) {
  const u32 low = static_cast<u32>(value);
  if (reg == kRegIcr) {
    if (x2apic) return write_icr(s, value, true);
    return write_icr(s, (s.icr & 0xffff'ffff'0000'0000u) | low, false);
  }
  if (x2apic && reg == kRegSelfIpi) {
    lapic_request(inbox, static_cast<u8>(low), false);
    return LapicAction{};
  }
  if (x2apic) return std::nullopt;
  switch (reg) {
    case kRegId: return LapicAction{};  // kept read-only: the id is how the machine finds the vCPU
    case kRegLdr:
      s.logical_id.store(low & 0xff00'0000u, std::memory_order_relaxed);
      return LapicAction{};
    case kRegDfr:
      s.destination_format.store(low | 0x0fff'ffffu, std::memory_order_relaxed);
      return LapicAction{};
    case kRegIcrHigh:
      s.icr = (s.icr & 0xffff'ffffu) | (static_cast<u64>(low) << 32);
      return LapicAction{};
    default: return std::nullopt;
  }
}

}  // namespace

void lapic_reset(LapicState& s, LapicInbox& inbox, u32 id, bool bootstrap, bool x2apic) {
  s.id = id;
  s.apic_base = layout::kLocalApicBase | kApicBaseEnabled | (bootstrap ? kApicBaseBootstrap : 0) |
                (x2apic ? kApicBaseX2 : 0);
  s.pv_eoi = 0;
  inbox.signals.store(0, std::memory_order_relaxed);
  lapic_init_signal(s, inbox);
}

void lapic_init_signal(LapicState& s, LapicInbox& inbox) {
  const bool x2apic = (s.apic_base & kApicBaseX2) != 0;
  s.mode.store(x2apic ? 2 : 1, std::memory_order_relaxed);
  s.logical_id.store(x2apic ? x2apic_logical_id(s.id) : 0, std::memory_order_relaxed);
  s.destination_format.store(0xffff'ffffu, std::memory_order_relaxed);
  s.deadline_tsc = s.icr = 0;
  s.tpr = s.esr = s.timer_initial = s.timer_divide = 0;
  s.pv_eoi_armed = s.pv_eoi_held_back = 0;
  s.svr = 0xff;
  s.lvt.fill(kLvtMasked);
  s.isr.fill(0);
  for (auto& word : inbox.irr) word.store(0, std::memory_order_relaxed);
  for (auto& word : inbox.tmr) word.store(0, std::memory_order_relaxed);
}

LapicRead lapic_read(const LapicState& s, const LapicInbox& inbox, u32 reg,
                     const LapicClock& clock) {
  const bool x2apic = s.mode.load(std::memory_order_relaxed) == 2;
  if (reg >= kRegIsr && reg < kRegIsr + 8) return {.value = s.isr[reg - kRegIsr]};
  if (reg >= kRegTmr && reg < kRegTmr + 8) return {.value = inbox.tmr[reg - kRegTmr].load()};
  if (reg >= kRegIrr && reg < kRegIrr + 8) return {.value = inbox.irr[reg - kRegIrr].load()};
  if (const auto lvt = lvt_index(reg)) return {.value = s.lvt[*lvt]};
  switch (reg) {
    case kRegId: return {.value = x2apic ? s.id : s.id << 24};
    case kRegVersion: return {.value = kLapicVersion};
    case kRegTpr: return {.value = s.tpr};
    case kRegPpr: return {.value = processor_priority(s)};
    case kRegLdr: return {.value = s.logical_id.load(std::memory_order_relaxed)};
    case kRegDfr:
      return {.fault = x2apic, .value = s.destination_format.load(std::memory_order_relaxed)};
    case kRegSvr: return {.value = s.svr};
    case kRegEsr: return {.value = s.esr};
    case kRegIcr: return {.value = x2apic ? s.icr : s.icr & 0xffff'ffffu};
    case kRegIcrHigh: return {.fault = x2apic, .value = s.icr >> 32};
    case kRegTimerInitial: return {.value = s.timer_initial};
    case kRegTimerCurrent: return {.value = timer_current(s, clock)};
    case kRegTimerDivide: return {.value = s.timer_divide};
    default: return {.fault = true};
  }
}

LapicAction lapic_write(LapicState& s, LapicInbox& inbox, u32 reg, u64 value,
                        const LapicClock& clock) {
  const bool x2apic = s.mode.load(std::memory_order_relaxed) == 2;
  if (auto done = write_by_mode(s, inbox, reg, value, x2apic)) return *done;
  const u32 low = static_cast<u32>(value);
  if (x2apic && (value >> 32) != 0) return {.fault = true};
  if (const auto lvt = lvt_index(reg)) {
    write_lvt(s, *lvt, low);
    return {};
  }
  switch (reg) {
    case kRegTpr: s.tpr = low & 0xff; return {};
    case kRegEoi: return lapic_eoi(s, inbox);
    case kRegSvr: write_svr(s, low); return {};
    case kRegEsr: s.esr = 0; return {.fault = x2apic && low != 0};
    case kRegTimerInitial: write_timer_initial(s, low, clock); return {};
    case kRegTimerDivide: s.timer_divide = low & 0xb; return {};
    default: return {.fault = true};
  }
}

LapicAction lapic_write_deadline(LapicState& s, u64 tsc) {
  if (timer_mode(s) == kTimerTscDeadline) s.deadline_tsc = tsc;
  return {};
}

bool lapic_write_base(LapicState& s, u64 value) {
  constexpr u64 kSettable = kApicBaseBootstrap | kApicBaseX2 | kApicBaseEnabled;
  // The window cannot be moved: no system of this century does, and it keeps routing one compare.
  if ((value & ~kSettable) != layout::kLocalApicBase) return false;
  const bool enabled = (value & kApicBaseEnabled) != 0;
  const bool x2 = (value & kApicBaseX2) != 0;
  const bool was_x2 = (s.apic_base & kApicBaseX2) != 0;
  if (x2 && !enabled) return false;
  if (was_x2 && enabled && !x2) return false;  // §11.12.5: only through disabled
  s.apic_base = (value & ~kApicBaseBootstrap) | (s.apic_base & kApicBaseBootstrap);
  s.mode.store(!enabled ? 0 : x2 ? 2 : 1, std::memory_order_relaxed);
  if (x2) s.logical_id.store(x2apic_logical_id(s.id), std::memory_order_relaxed);
  return true;
}

LapicAction lapic_eoi(LapicState& s, const LapicInbox& inbox) {
  const auto vector = lapic_highest_in_service(s);
  if (!vector) return {};
  s.isr[*vector / 32] &= ~bit_of(*vector);
  if ((inbox.tmr[*vector / 32].load(std::memory_order_acquire) & bit_of(*vector)) == 0) return {};
  return {.level_eoi = *vector};
}

void lapic_check_timer(LapicState& s, LapicInbox& inbox, const LapicClock& clock) {
  if (s.deadline_tsc == 0 || s.deadline_tsc > clock.tsc) return;
  // First: a thread killed in between leaves a tick that comes twice, not one that never comes.
  const u32 lvt = s.lvt[kLvtTimer];
  if ((lvt & kLvtMasked) == 0) lapic_request(inbox, static_cast<u8>(lvt), false);
  if (timer_mode(s) == kTimerPeriodic && s.timer_initial != 0) {
    // Periods missed while the vCPU did not run are one interrupt, as a busy IRR bit makes them.
    const u64 period = timer_ticks(s, clock, s.timer_initial);
    s.deadline_tsc += ((clock.tsc - s.deadline_tsc) / period + 1) * period;
  } else {
    s.deadline_tsc = 0;
  }
}

std::optional<u8> lapic_highest_in_service(const LapicState& s) { return highest(s.isr); }

void lapic_drop_stray_sipi(LapicInbox& inbox) {
  u32 seen = inbox.signals.load();
  while ((seen & kSignalSipi) != 0 && (seen & kSignalInit) == 0) {
    if (inbox.signals.compare_exchange_weak(seen, seen & (kSignalNmi | kSignalPanic))) return;
  }
}

bool lapic_any_requested(const LapicInbox& inbox) {
  for (const auto& word : inbox.irr) {
    if (word.load(std::memory_order_acquire) != 0) return true;
  }
  return false;
}

std::optional<u8> lapic_pending(const LapicState& s, const LapicInbox& inbox) {
  if ((s.svr & kSvrEnabled) == 0) return std::nullopt;
  const auto vector = highest(inbox.irr);
  if (!vector || *vector < 16) return std::nullopt;  // vectors 0..15 are illegal (§11.5.2)
  if ((*vector & 0xf0u) <= (processor_priority(s) & 0xf0u)) return std::nullopt;
  return vector;
}

bool lapic_takes_ext_int(const LapicState& s, const LapicInbox& inbox) {
  if (inbox.ext_int.load() == 0) return false;
  constexpr u32 kMode = 7u << 8;
  return s.mode.load(std::memory_order_relaxed) == 0 ||
         (s.lvt[kLvtLint0] & (kLvtMasked | kMode)) == kMode;
}

void lapic_accept(LapicState& s, LapicInbox& inbox, u8 vector) {
  inbox.irr[vector / 32].fetch_and(~bit_of(vector), std::memory_order_acq_rel);
  s.isr[vector / 32] |= bit_of(vector);
}

bool lapic_request(LapicInbox& inbox, u8 vector, bool level_triggered) {
  auto& tmr = inbox.tmr[vector / 32];
  if (level_triggered) {
    tmr.fetch_or(bit_of(vector), std::memory_order_acq_rel);
  } else if ((tmr.load(std::memory_order_acquire) & bit_of(vector)) != 0) {
    tmr.fetch_and(~bit_of(vector), std::memory_order_acq_rel);
  }
  return (inbox.irr[vector / 32].fetch_or(bit_of(vector), std::memory_order_seq_cst) &
          bit_of(vector)) == 0;
}

bool lapic_matches(const LapicState& s, u32 destination, bool logical) {
  if (destination == 0xffff'ffffu) return true;
  const u32 mode = s.mode.load(std::memory_order_relaxed);
  if (!logical) return destination == s.id;
  const u32 ldr = s.logical_id.load(std::memory_order_relaxed);
  if (mode == 2) return (destination >> 16) == (ldr >> 16) && (destination & ldr & 0xffff) != 0;
  const u32 mda = destination & 0xff;
  const u32 id = ldr >> 24;
  if ((s.destination_format.load(std::memory_order_relaxed) >> 28) == 0xf)
    return (mda & id) != 0;                                 // flat
  return (mda >> 4) == (id >> 4) && (mda & id & 0xf) != 0;  // cluster
}

}  // namespace dvm::vmm
