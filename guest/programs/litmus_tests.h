// The litmus tests themselves: what each member does with a slot's two words, and which outcome
// matters. Loads and stores are single instructions, so that the compiler cannot reorder them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace litmus {

inline constexpr size_t kLine = 64;
inline constexpr size_t kSlots = 1024;
inline constexpr size_t kMaxMembers = 4;

struct alignas(kLine) Line {
  uint64_t value;
};

inline void Store(uint64_t* at, uint64_t value) {
  asm volatile("movq %1, %0" : "=m"(*at) : "r"(value) : "memory");
}

inline uint64_t Load(const uint64_t* at) {
  uint64_t value;
  asm volatile("movq %1, %0" : "=r"(value) : "m"(*at) : "memory");
  return value;
}

inline void Mfence() { asm volatile("mfence" : : : "memory"); }

inline void LockedAdd() {
  uint64_t word = 0;
  asm volatile("lock addq $1, %0" : "+m"(word) : : "memory");
}

// A member returns up to two bits: its first observation in bit 0, its second in bit 1.
using Run = uint64_t (*)(size_t me, uint64_t* x, uint64_t* y);

inline uint64_t StoreBuffering(size_t me, uint64_t* x, uint64_t* y) {
  Store(me == 0 ? x : y, 1);
  return Load(me == 0 ? y : x);
}

inline uint64_t StoreBufferingFenced(size_t me, uint64_t* x, uint64_t* y) {
  Store(me == 0 ? x : y, 1);
  Mfence();
  return Load(me == 0 ? y : x);
}

inline uint64_t StoreBufferingLocked(size_t me, uint64_t* x, uint64_t* y) {
  Store(me == 0 ? x : y, 1);
  LockedAdd();
  return Load(me == 0 ? y : x);
}

inline uint64_t MessagePassing(size_t me, uint64_t* x, uint64_t* y) {
  if (me == 0) {
    Store(x, 1);
    Store(y, 1);
    return 0;
  }
  const uint64_t flag = Load(y);
  return flag | Load(x) << 1;
}

inline uint64_t LoadBuffering(size_t me, uint64_t* x, uint64_t* y) {
  const uint64_t seen = Load(me == 0 ? x : y);
  Store(me == 0 ? y : x, 1);
  return seen;
}

inline uint64_t ReadReadCoherence(size_t me, uint64_t* x, uint64_t*) {
  if (me == 0) {
    Store(x, 1);
    return 0;
  }
  const uint64_t first = Load(x);
  return first | Load(x) << 1;
}

inline uint64_t IndependentReads(size_t me, uint64_t* x, uint64_t* y) {
  if (me < 2) {
    Store(me == 0 ? x : y, 1);
    return 0;
  }
  const uint64_t first = Load(me == 2 ? x : y);
  return first | Load(me == 2 ? y : x) << 1;
}

inline uint64_t TwoPlusTwoWrites(size_t me, uint64_t* x, uint64_t* y) {
  Store(me == 0 ? x : y, 1);
  Store(me == 0 ? y : x, 2);
  return 0;
}

// An outcome holds two bits for each member, or, with `final_state`, two for each word at the end.
// `mask` has the bits that mean something.
struct Test {
  const char* name;
  size_t members;
  Run run;
  bool final_state;
  const char* shown[4];  // names of the observations, in the order of the bits in `mask`
  uint32_t mask;
  uint32_t marked;
  bool marked_forbidden;
};

inline constexpr Test kTests[] = {
    {"SB", 2, StoreBuffering, false, {"r0", "r1"}, 0b0101, 0b0000, false},
    {"SB+mfence", 2, StoreBufferingFenced, false, {"r0", "r1"}, 0b0101, 0b0000, true},
    {"SB+locked", 2, StoreBufferingLocked, false, {"r0", "r1"}, 0b0101, 0b0000, true},
    {"MP", 2, MessagePassing, false, {"flag", "data"}, 0b1100, 0b0100, true},
    {"LB", 2, LoadBuffering, false, {"r0", "r1"}, 0b0101, 0b0101, true},
    {"CoRR", 2, ReadReadCoherence, false, {"first", "second"}, 0b1100, 0b0100, true},
    {"2+2W", 2, TwoPlusTwoWrites, true, {"x", "y"}, 0b1111, 0b0101, true},
    {"IRIW", 4, IndependentReads, false, {"x2", "y2", "y3", "x3"}, 0b11110000, 0b01010000, true},
};

inline std::string Describe(const Test& test, uint32_t outcome) {
  std::string text;
  const unsigned width = test.final_state ? 2 : 1;
  size_t name = 0;
  for (unsigned bit = 0; bit < 8; bit += width) {
    if ((test.mask >> bit & 1) == 0) continue;
    if (!text.empty()) text += ",";
    text += test.shown[name++];
    text += "=" + std::to_string(outcome >> bit & (width == 2 ? 3 : 1));
  }
  return text;
}

class Counts {
 public:
  void Add(uint32_t outcome) { counts_[outcome & 0xff]++; }
  uint64_t Of(uint32_t outcome) const { return counts_[outcome]; }
  uint64_t Total() const {
    uint64_t total = 0;
    for (uint64_t count : counts_) total += count;
    return total;
  }
  // All outcomes seen; the one that matters is shown even when it was not.
  std::string Describe(const Test& test) const {
    std::string text = std::string(test.name) + ":";
    for (uint32_t outcome = 0; outcome < 256; outcome++) {
      const bool marked = outcome == test.marked;
      if (counts_[outcome] == 0 && !marked) continue;
      text += " " + litmus::Describe(test, outcome) + ":" + std::to_string(counts_[outcome]);
      if (marked) text += test.marked_forbidden ? "(forbidden)" : "(reordered)";
    }
    return text;
  }

 private:
  uint64_t counts_[256] = {};
};

}  // namespace litmus
