// A keyboard controller with nothing plugged in: it is there for its reset line.
// "IBM Personal System/2 Hardware Interface Technical Reference", "Keyboard and Auxiliary Device
// Controller"; section names below are its.
//
// The FADT says that there is none (IA-PC boot flag 8042 clear), so Linux does not probe it: no
// access at all. For software that does not ask ACPI it is a controller that works and answers
// every command at once, and whose interface tests fail: SeaBIOS gives up after some ten accesses
// and does not wait for a keyboard's reset. A bus that floats would be found absent too, but only
// after 33 reads, and its "input buffer full" makes Linux's reset by keyboard controller (reboot=k)
// wait for 65536 more.
#pragma once

#include <array>
#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace i8042 {

// Offsets from port 0x60; what lies between them is not ours.
inline constexpr u16 kDataOffset = 0;
inline constexpr u16 kCommandOffset = 4;  // status when read

// "Status Register".
inline constexpr u8 kOutputFull = 0x01;
inline constexpr u8 kSystemFlag = 0x04;  // as in the configuration byte
inline constexpr u8 kLastWasCommand = 0x08;
inline constexpr u8 kNotLocked = 0x10;

// "Controller Command Byte" (configuration).
inline constexpr u8 kKeyboardOff = 0x10;
inline constexpr u8 kAuxOff = 0x20;
inline constexpr u8 kTranslate = 0x40;

// "Controller Commands".
inline constexpr u8 kReadConfig = 0x20;
inline constexpr u8 kWriteConfig = 0x60;
inline constexpr u8 kAuxDisable = 0xa7;
inline constexpr u8 kAuxEnable = 0xa8;
inline constexpr u8 kAuxTest = 0xa9;
inline constexpr u8 kSelfTest = 0xaa;
inline constexpr u8 kKeyboardTest = 0xab;
inline constexpr u8 kKeyboardDisable = 0xad;
inline constexpr u8 kKeyboardEnable = 0xae;
inline constexpr u8 kReadInputPort = 0xc0;
inline constexpr u8 kReadOutputPort = 0xd0;
inline constexpr u8 kWriteOutputPort = 0xd1;
inline constexpr u8 kEchoKeyboard = 0xd2;
inline constexpr u8 kEchoAux = 0xd3;
inline constexpr u8 kReadTestInputs = 0xe0;
inline constexpr u8 kPulse = 0xf0;  // .. 0xff: bits that are 0 are pulsed low
inline constexpr u8 kPulseReset = 0xfe;

inline constexpr u8 kSelfTestPassed = 0x55;
inline constexpr u8 kClockStuckLow = 0x01;  // an interface test's answer

// "Input and Output Port".
inline constexpr u8 kOutputResetHigh = 0x01;  // low holds the processor in reset
inline constexpr u8 kOutputA20 = 0x02;        // always open here
inline constexpr u8 kInputNotLocked = 0x80;

}  // namespace i8042

struct I8042State {
  u8 config = i8042::kSystemFlag | i8042::kKeyboardOff | i8042::kAuxOff | i8042::kTranslate;
  u8 command = 0;  // that waits for its data byte; 0: none
  u8 output = 0;
  bool output_full = false;
  bool last_was_command = false;
  std::array<u8, 3> reserved{};
};
static_assert(sizeof(I8042State) == 8);
static_assert(std::is_trivially_copyable_v<I8042State>);

u8 i8042_read(I8042State& state, u16 offset);
void i8042_write(I8042State& state, u16 offset, u8 value, Effects& effects);

}  // namespace dvm::vmm
