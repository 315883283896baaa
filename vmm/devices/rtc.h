// The MC146818 real-time clock with a PC's 128 bytes of CMOS RAM, at ports 0x70 and 0x71.
// "MC146818 Real-Time Clock plus RAM", Motorola, 1984; section names below are its.
#pragma once

#include <array>
#include <optional>
#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace rtc {

// "Address map".
inline constexpr u8 kSeconds = 0x00;
inline constexpr u8 kSecondsAlarm = 0x01;
inline constexpr u8 kMinutes = 0x02;
inline constexpr u8 kMinutesAlarm = 0x03;
inline constexpr u8 kHours = 0x04;
inline constexpr u8 kHoursAlarm = 0x05;
inline constexpr u8 kDayOfWeek = 0x06;  // 1: Sunday
inline constexpr u8 kDayOfMonth = 0x07;
inline constexpr u8 kMonth = 0x08;
inline constexpr u8 kYear = 0x09;
inline constexpr u8 kRegA = 0x0a;
inline constexpr u8 kRegB = 0x0b;
inline constexpr u8 kRegC = 0x0c;
inline constexpr u8 kRegD = 0x0d;
inline constexpr u8 kCentury = 0x32;  // a PC's addition; the FADT names it

inline constexpr u8 kHourPm = 0x80;
inline constexpr u8 kAlarmAny = 0xc0;  // both bits set: this field matches always

// "Register A".
inline constexpr u8 kUpdateInProgress = 0x80;
inline constexpr u8 kDividerShift = 4;
inline constexpr u8 kDividerReset = 6;  // and 7
inline constexpr u8 kRateMask = 0x0f;
inline constexpr u64 kUpdateNotice = 244'000;  // ns between UIP and the update

// "Register B" and "Register C"; an interrupt's enable and flag are the same bit.
inline constexpr u8 kSet = 0x80;
inline constexpr u8 kPeriodic = 0x40;
inline constexpr u8 kAlarm = 0x20;
inline constexpr u8 kUpdateEnded = 0x10;
inline constexpr u8 kInterrupts = kPeriodic | kAlarm | kUpdateEnded;
inline constexpr u8 kSquareWave = 0x08;
inline constexpr u8 kBinary = 0x04;
inline constexpr u8 k24Hours = 0x02;
inline constexpr u8 kInterruptRequest = 0x80;

// "Register D".
inline constexpr u8 kValidRamAndTime = 0x80;

// Where a PC BIOS notes the size of memory.
inline constexpr u8 kBaseMemory = 0x15;       // 2 bytes, KiB below 640 KiB
inline constexpr u8 kExtendedMemory = 0x17;   // 2 bytes, KiB above 1 MiB
inline constexpr u8 kExtendedMemory2 = 0x30;  // the same
inline constexpr u8 kMemoryAbove16M = 0x34;   // 2 bytes, 64 KiB units, below 4 GiB
inline constexpr u8 kMemoryAbove4G = 0x5b;    // 3 bytes, 64 KiB units

// Where SeaBIOS looks (src/hw/rtc.h).
inline constexpr u8 kBootFlag1 =
    0x38;  // bits 7:4: the third device to try; bit 0: floppy unchecked
inline constexpr u8 kBootFlag2 = 0x3d;    // the first and the second; 2 is the hard disk
inline constexpr u8 kStartedCpus = 0x5f;  // those beside the first

}  // namespace rtc

// The clock's second is  base + guest_offset + (now_ns + phase_ns) / 10^9.  `base` follows the
// host's clock: it is set anew when the two differ by more than a second (a resume, a stepped host
// clock).
struct RtcState {
  i64 base = 0;          // host's time at guest time 0
  i64 guest_offset = 0;  // by how much the guest has set the clock ahead
  i64 seen_second = 0;   // the flags tell of all updates up to this second
  u64 seen_ns = 0;       // and of all periodic ticks up to this guest time
  u32 phase_ns = 0;      // < 10^9
  bool base_known = false;
  u8 index = 0;     // as written to port 0x70; bit 7 is the NMI mask
  u8 reg_a = 0x26;  // 32768 Hz, 1024 Hz periodic rate: what a BIOS sets
  u8 reg_b = rtc::k24Hours;
  u8 reg_c = 0;
  std::array<u8, 128> ram{};  // alarms, too; the time only while the clock stands
  std::array<u8, 7> reserved{};
};
static_assert(sizeof(RtcState) == 176);
static_assert(std::is_trivially_copyable_v<RtcState>);

// Offset 0 is port 0x70 (write only), 1 is port 0x71; bits beyond are ignored.
// Known differences: the day of the week follows from the date, whatever is written; fields out of
// range are brought into it when the clock starts; daylight saving is not done.
u8 rtc_read(RtcState& state, u16 offset, const DeviceEnv& env);
void rtc_write(RtcState& state, u16 offset, u8 value, const DeviceEnv& env);

// The guest time at which rtc_on_timer has something to do, which may be past. After a jump of the
// host's clock call rtc_on_timer at once.
std::optional<u64> rtc_next_deadline(const RtcState& state, const DeviceEnv& env);
void rtc_on_timer(RtcState& state, const DeviceEnv& env);
// The level of the interrupt line: high until register C is read.
bool rtc_irq(const RtcState& state);

// The machine's reset line: interrupts are off, the battery keeps the rest ("RESET").
void rtc_reset(RtcState& state);
void rtc_set_boot(RtcState& state, u32 vcpus);  // for firmware: CPUs, and hard disks only
void rtc_set_memory_size(RtcState& state, u64 bytes_below_4g, u64 bytes_above_4g);

}  // namespace dvm::vmm
