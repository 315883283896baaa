#include "vmm/irq/pic.h"

#include <bit>

namespace dvm::vmm {
namespace {

// ICW1 is told by bit 4 of a write to port 0, OCW3 by bit 3 ("Programming the 8259A").
constexpr u8 kIcw1 = 0x10, kIcw1Single = 0x02, kIcw1NeedsIcw4 = 0x01;
constexpr u8 kIcw4AutoEoi = 0x02, kIcw4SpecialNested = 0x10;
constexpr u8 kOcw3 = 0x08, kOcw3Poll = 0x04, kOcw3SetRead = 0x02, kOcw3ReadIsr = 0x01;
constexpr u8 kOcw3SetSpecialMask = 0x40, kOcw3SpecialMask = 0x20;
constexpr u8 kSpuriousInput = 7;
// Timer, keyboard and cascade; RTC and coprocessor: always edge triggered (ICH9, ELCR1 and ELCR2).
constexpr std::array<u8, 2> kElcrWritable = {0xf8, 0xde};

constexpr u8 input_bit(u32 input) { return static_cast<u8>(1u << (input & 7)); }

// Of the inputs in `set` the one served first, by the rotating order; `set` is not empty.
u8 first_served(const PicChip& chip, u8 set) {
  const int first = (chip.lowest + 1) & 7;
  return static_cast<u8>((std::countr_zero(std::rotr(set, first)) + first) & 7);
}
int rank(const PicChip& chip, u8 input) { return (input - chip.lowest - 1) & 7; }

// The input whose request the chip passes on. `cascaded` are requests that come from the slave.
std::optional<u8> pending(const PicChip& chip, u8 cascaded) {
  const u8 requests = static_cast<u8>((chip.irr | cascaded) & ~chip.imr);
  if (requests == 0) return std::nullopt;
  const u8 input = first_served(chip, requests);
  u8 in_service = chip.isr;
  if (chip.special_mask) in_service = static_cast<u8>(in_service & ~chip.imr);
  // The slave may interrupt its own handler ("Special fully nested mode").
  if (chip.special_nested) in_service = static_cast<u8>(in_service & ~input_bit(kPicCascade));
  if (in_service != 0 && rank(chip, first_served(chip, in_service)) <= rank(chip, input))
    return std::nullopt;
  return input;
}

std::optional<u8> slave_pending(const PicState& s) { return pending(s.chips[1], 0); }
u8 cascade(const PicState& s) { return slave_pending(s) ? input_bit(kPicCascade) : 0; }
std::optional<u8> master_pending(const PicState& s) { return pending(s.chips[0], cascade(s)); }

void take(PicChip& chip, u8 input) {
  if ((chip.elcr & input_bit(input)) == 0) chip.irr = static_cast<u8>(chip.irr & ~input_bit(input));
  if (!chip.auto_eoi) {
    chip.isr |= input_bit(input);
  } else if (chip.rotate_auto_eoi) {
    chip.lowest = input;
  }
}

void end_of_interrupt(PicChip& chip, std::optional<u8> input, bool rotate) {
  if (!input && chip.isr != 0) input = first_served(chip, chip.isr);
  if (!input) return;
  chip.isr = static_cast<u8>(chip.isr & ~input_bit(*input));
  if (rotate) chip.lowest = *input;
}

// OCW2: the operation is in bits 7:5, an input in bits 2:0.
void write_ocw2(PicChip& chip, u8 value) {
  const u8 input = value & 7;
  switch (value >> 5) {
    case 0: chip.rotate_auto_eoi = false; break;
    case 1: end_of_interrupt(chip, std::nullopt, false); break;
    case 3: end_of_interrupt(chip, input, false); break;
    case 4: chip.rotate_auto_eoi = true; break;
    case 5: end_of_interrupt(chip, std::nullopt, true); break;
    case 6: chip.lowest = input; break;
    case 7: end_of_interrupt(chip, input, true); break;
    default: break;  // 2: no operation
  }
}

void write_ocw3(PicChip& chip, u8 value) {
  if ((value & kOcw3Poll) != 0) chip.poll = true;
  if ((value & kOcw3SetRead) != 0) chip.read_isr = (value & kOcw3ReadIsr) != 0;
  if ((value & kOcw3SetSpecialMask) != 0) chip.special_mask = (value & kOcw3SpecialMask) != 0;
}

// "Initialization Command Words": edges seen so far are forgotten, the mask is cleared.
void write_icw1(PicChip& chip, u8 value) {
  const PicChip before = chip;
  chip = PicChip{};
  chip.imr = 0;
  chip.lines = before.lines;
  chip.elcr = before.elcr;
  chip.irr = static_cast<u8>(before.lines & before.elcr);
  chip.next_icw = 2;
  chip.single = (value & kIcw1Single) != 0;
  chip.wants_icw4 = (value & kIcw1NeedsIcw4) != 0;
}

void write_data(PicChip& chip, u8 value) {
  const u8 after_last = 0;
  switch (chip.next_icw) {
    case 2:
      chip.base = value & 0xf8;
      chip.next_icw = !chip.single ? 3 : chip.wants_icw4 ? 4 : after_last;
      return;
    case 3:  // who cascades to whom: wired, here
      chip.next_icw = chip.wants_icw4 ? 4 : after_last;
      return;
    case 4:
      chip.auto_eoi = (value & kIcw4AutoEoi) != 0;
      chip.special_nested = (value & kIcw4SpecialNested) != 0;
      chip.next_icw = after_last;
      return;
    default: chip.imr = value;
  }
}

// "Poll command": bit 7 says that there was a request, the low bits which.
u8 polled(PicState& s, u8 chip) {
  const auto input = chip == 0 ? master_pending(s) : slave_pending(s);
  if (!input) return 0;
  take(s.chips[chip], *input);
  return static_cast<u8>(0x80 | *input);
}

}  // namespace

u8 pic_read(PicState& state, u8 chip, u8 offset) {
  PicChip& c = state.chips[chip & 1];
  if (c.poll) {
    c.poll = false;
    return polled(state, chip & 1);
  }
  if ((offset & 1) != 0) return c.imr;
  if (c.read_isr) return c.isr;
  return (chip & 1) == 0 ? static_cast<u8>(c.irr | cascade(state)) : c.irr;
}

void pic_write(PicState& state, u8 chip, u8 offset, u8 value) {
  PicChip& c = state.chips[chip & 1];
  if ((offset & 1) != 0) return write_data(c, value);
  if ((value & kIcw1) != 0) return write_icw1(c, value);
  return (value & kOcw3) != 0 ? write_ocw3(c, value) : write_ocw2(c, value);
}

u8 pic_elcr_read(const PicState& state, u8 chip) { return state.chips[chip & 1].elcr; }

void pic_elcr_write(PicState& state, u8 chip, u8 value) {
  PicChip& c = state.chips[chip & 1];
  c.elcr = value & kElcrWritable[chip & 1];
  c.irr = static_cast<u8>((c.irr & ~c.elcr) | (c.lines & c.elcr));
}

void pic_set_line(PicState& state, u8 line, bool high) {
  if (line >= kPicLines || line == kPicCascade) return;
  PicChip& c = state.chips[line / 8];
  const u8 bit = input_bit(line);
  const bool rises = high && (c.lines & bit) == 0;
  c.lines = static_cast<u8>(high ? c.lines | bit : c.lines & ~bit);
  if ((c.elcr & bit) != 0) {
    c.irr = static_cast<u8>(high ? c.irr | bit : c.irr & ~bit);
  } else if (rises) {
    // Kept until it is acknowledged, though the line falls meanwhile: the timer's is a short pulse.
    c.irr |= bit;
  }
}

bool pic_output(const PicState& state) { return master_pending(state).has_value(); }

u8 pic_acknowledge(PicState& state) {
  PicChip& master = state.chips[0];
  const auto input = master_pending(state);
  if (!input) return master.base | kSpuriousInput;
  if (*input != kPicCascade || cascade(state) == 0) {
    take(master, *input);
    return master.base | *input;
  }
  PicChip& slave = state.chips[1];
  const u8 behind = *slave_pending(state);
  take(master, kPicCascade);
  take(slave, behind);
  return slave.base | behind;
}

bool pic_hears(const PicState& state, u8 line) {
  if (line >= kPicLines || (state.chips[line / 8].imr & input_bit(line)) != 0) return false;
  return line < 8 || (state.chips[0].imr & input_bit(kPicCascade)) == 0;
}

}  // namespace dvm::vmm
