#include "vmm/devices/i8042.h"

#include <utility>

namespace dvm::vmm {

using namespace i8042;

namespace {

u8 status(const I8042State& state) {
  u8 value = kNotLocked | (state.config & kSystemFlag);
  if (state.output_full) value |= kOutputFull;
  if (state.last_was_command) value |= kLastWasCommand;
  return value;
}

void answer(I8042State& state, u8 value) {
  state.output = value;
  state.output_full = true;
}

void drive_output_port(u8 lines, Effects& effects) {
  if ((lines & kOutputResetHigh) == 0) effects.power = PowerRequest::reset;
}

void write_command(I8042State& state, u8 command, Effects& effects) {
  state.command = 0;
  if (command >= kPulse) return drive_output_port(command, effects);
  switch (command) {
    case kReadConfig: answer(state, state.config); break;
    case kAuxDisable: state.config |= kAuxOff; break;
    case kAuxEnable: state.config &= static_cast<u8>(~kAuxOff); break;
    case kKeyboardDisable: state.config |= kKeyboardOff; break;
    case kKeyboardEnable: state.config &= static_cast<u8>(~kKeyboardOff); break;
    case kSelfTest: answer(state, kSelfTestPassed); break;
    case kAuxTest:
    case kKeyboardTest: answer(state, kClockStuckLow); break;
    case kReadInputPort: answer(state, kInputNotLocked); break;
    case kReadOutputPort: answer(state, kOutputResetHigh | kOutputA20); break;
    case kReadTestInputs: answer(state, 0); break;
    case kWriteConfig:
    case kWriteOutputPort:
    case kEchoKeyboard:
    case kEchoAux: state.command = command; break;
    default: break;
  }
}

void write_data(I8042State& state, u8 value, Effects& effects) {
  switch (std::exchange(state.command, u8{0})) {
    case kWriteConfig: state.config = value; break;
    case kWriteOutputPort: drive_output_port(value, effects); break;
    // Echoed as if by the keyboard: who looks for an auxiliary port learns at once that there is
    // none.
    case kEchoKeyboard:
    case kEchoAux: answer(state, value); break;
    default: break;  // for a keyboard, if there were one
  }
}

}  // namespace

u8 i8042_read(I8042State& state, u16 offset) {
  if (offset == kCommandOffset) return status(state);
  if (offset != kDataOffset) return 0xff;
  state.output_full = false;
  return state.output;
}

void i8042_write(I8042State& state, u16 offset, u8 value, Effects& effects) {
  if (offset != kDataOffset && offset != kCommandOffset) return;
  state.last_was_command = offset == kCommandOffset;
  if (state.last_was_command) {
    write_command(state, value, effects);
  } else {
    write_data(state, value, effects);
  }
}

}  // namespace dvm::vmm
