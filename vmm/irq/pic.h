// The pair of 8259A interrupt controllers of a PC, as a pure model ("8259A Programmable Interrupt
// Controller", Intel order number 231468-003; section names below are its), with the edge/level
// control registers that PCI chipsets add (Intel ICH9 datasheet, ELCR1 and ELCR2).
//
// Real-mode software lives on it: firmware and boot loaders wait in HLT for the timer's tick. Its
// output reaches the bootstrap processor's LINT0 (MP specification 1.4 §3.6.2.2, "virtual wire").
#pragma once

#include <array>
#include <optional>
#include <type_traits>

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr u8 kPicLines = 16;
inline constexpr u8 kPicCascade = 2;  // the master's input that the slave drives

// One 8259A. Member initialisers are the power-on state: every input masked.
struct PicChip {
  u8 irr = 0;  // requests; of a level-triggered input: its level
  u8 isr = 0;  // in service
  u8 imr = 0xff;
  u8 lines = 0;     // levels of the inputs
  u8 elcr = 0;      // inputs that are level triggered
  u8 base = 0;      // vector of input 0; the low three bits are 0
  u8 lowest = 7;    // the input with the lowest priority
  u8 next_icw = 0;  // the initialisation word that port 1 expects, 2 to 4; 0: none
  bool wants_icw4 = false;
  bool single = false;  // ICW1: no ICW3 comes
  bool auto_eoi = false;
  bool rotate_auto_eoi = false;
  bool special_mask = false;
  bool special_nested = false;
  bool read_isr = false;  // port 0 shows the ISR, not the IRR
  bool poll = false;      // the next read acknowledges
};
static_assert(sizeof(PicChip) == 16);

struct PicState {
  std::array<PicChip, 2> chips{};  // master, slave
};
static_assert(sizeof(PicState) == 32 && std::is_trivially_copyable_v<PicState>);

// `chip`: 0 master, 1 slave; `offset`: 0 command, 1 data. Bits beyond are ignored.
u8 pic_read(PicState& state, u8 chip, u8 offset);
void pic_write(PicState& state, u8 chip, u8 offset, u8 value);
u8 pic_elcr_read(const PicState& state, u8 chip);
void pic_elcr_write(PicState& state, u8 chip, u8 value);

// Input 0..15; the cascade's and those out of range are ignored.
void pic_set_line(PicState& state, u8 line, bool high);
// The INT output: an interrupt waits to be acknowledged.
bool pic_output(const PicState& state);
// The processor's acknowledge cycle ("Interrupt sequence"): the vector. A request that has gone is
// answered by input 7, and nothing comes in service.
u8 pic_acknowledge(PicState& state);
// Somebody would hear the input's next edge.
bool pic_hears(const PicState& state, u8 line);

}  // namespace dvm::vmm
