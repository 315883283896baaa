// A local APIC as state in the pool, emulated in user space so that any node can raise an interrupt
// on any vCPU and any node can run the vCPU next (Intel SDM vol. 3A ch. 11; x2APIC §11.12).
//
// Two halves. LapicInbox is written by everyone, one atomic operation a message. LapicState is
// written only by the thread that runs the vCPU; the few words others route by are atomic.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "vmm/irq/message.h"

namespace dvm::vmm {

// Bits of LapicInbox::signals.
inline constexpr u32 kSignalNmi = 1u << 0;
inline constexpr u32 kSignalInit = 1u << 1;
inline constexpr u32 kSignalSipi = 1u << 2;   // vector in bits 8..15
inline constexpr u32 kSignalPanic = 1u << 3;  // a double fault, by fault injection

struct LapicInbox {
  std::array<std::atomic<u32>, 8> irr;  // requested vectors
  std::array<std::atomic<u32>, 8> tmr;  // set: the vector's last request was level triggered
  std::atomic<u32> signals;
  std::atomic<u32> ext_int;  // the level of LINT0, which the 8259s drive (vCPU 0's only)
};

enum LvtIndex : u8 {
  kLvtCmci,
  kLvtTimer,
  kLvtThermal,
  kLvtPerf,
  kLvtLint0,
  kLvtLint1,
  kLvtError,
  kLvtCount
};

struct LapicState {
  u64 apic_base = 0;     // IA32_APIC_BASE
  u64 deadline_tsc = 0;  // the timer's next expiry in guest TSC ticks, whatever its mode; 0: none
  u64 icr = 0;
  u64 pv_eoi = 0;  // MSR_KVM_PV_EOI_EN: guest address | 1 when enabled
  u32 id = 0;
  u32 tpr = 0;
  u32 svr = 0;
  u32 esr = 0;
  u32 timer_initial = 0;
  u32 timer_divide = 0;
  std::array<u32, kLvtCount> lvt{};
  std::array<u32, 8> isr{};
  std::atomic<u32> logical_id{0};          // LDR
  std::atomic<u32> destination_format{0};  // DFR
  std::atomic<u32> mode{0};                // 0 disabled, 1 xAPIC, 2 x2APIC: apic_base, for others
  u32 pv_eoi_armed = 0;                    // the guest may skip the EOI of the highest ISR bit
  u32 pv_eoi_held_back = 0;
  u32 reserved = 0;
};

// Guest TSC and its frequency; the APIC timer counts at 1 GHz.
struct LapicClock {
  u64 tsc = 0;
  u64 tsc_khz = 1;
};

// What a register access asks of the machine.
struct LapicAction {
  bool fault = false;  // #GP for x2APIC; ignored for xAPIC
  std::optional<InterruptMessage> ipi;
  std::optional<u8> level_eoi;  // tell the IOAPIC that this vector ended
};

void lapic_reset(LapicState& s, LapicInbox& inbox, u32 id, bool bootstrap, bool x2apic);
// INIT keeps the id and IA32_APIC_BASE (§11.4.7.3).
void lapic_init_signal(LapicState& s, LapicInbox& inbox);

// Register numbers: the x2APIC MSR less 0x800, or the xAPIC offset / 16.
struct LapicRead {
  bool fault = false;
  u64 value = 0;
};
LapicRead lapic_read(const LapicState& s, const LapicInbox& inbox, u32 reg,
                     const LapicClock& clock);
LapicAction lapic_write(LapicState& s, LapicInbox& inbox, u32 reg, u64 value,
                        const LapicClock& clock);
LapicAction lapic_write_deadline(LapicState& s, u64 tsc);  // IA32_TSC_DEADLINE
// IA32_APIC_BASE; false: #GP (reserved bits, or x2APIC to xAPIC directly).
bool lapic_write_base(LapicState& s, u64 value);

// Ends the interrupt in service with the highest priority.
LapicAction lapic_eoi(LapicState& s, const LapicInbox& inbox);
// The timer's expiry, if it is due: requests its vector, re-arms a periodic one.
void lapic_check_timer(LapicState& s, LapicInbox& inbox, const LapicClock& clock);

// The vector that would be taken now (above the processor priority), if any.
std::optional<u8> lapic_pending(const LapicState& s, const LapicInbox& inbox);
// Any requested vector, masked by priority or not.
bool lapic_any_requested(const LapicInbox& inbox);
// IRR to ISR: the vector is being delivered to the vCPU.
// The 8259s' interrupt is the processor's: LINT0 passes it on, or there is no local APIC in the way
// (§11.5.1, delivery mode ExtINT; §11.4.3).
bool lapic_takes_ext_int(const LapicState& s, const LapicInbox& inbox);
void lapic_accept(LapicState& s, LapicInbox& inbox, u8 vector);
std::optional<u8> lapic_highest_in_service(const LapicState& s);

// A vCPU that runs ignores SIPI (Intel SDM vol. 3A §9.4.4.1), and senders send it twice: the second
// one must not stay behind as a signal that nobody takes. Kept while an INIT waits: it belongs to
// that.
void lapic_drop_stray_sipi(LapicInbox& inbox);

// Asks for `vector`; true if it was not requested already. Threads: any.
bool lapic_request(LapicInbox& inbox, u8 vector, bool level_triggered);
// Whether this APIC is meant. Threads: any.
bool lapic_matches(const LapicState& s, u32 destination, bool logical);

}  // namespace dvm::vmm
