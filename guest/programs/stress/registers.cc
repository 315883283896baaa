// Register and private memory integrity: whatever a CPU holds must survive interrupts, exits to the
// hypervisor and moves between its hosts.
#include <cmath>

#include "stress.h"

namespace stress {
namespace {

constexpr size_t kWords = 32 << 10;  // 256 KiB of private memory for each CPU
// What Arithmetic() gives on every x86-64 machine.
constexpr uint64_t kRightArithmetic = 0x8107124e45053510u;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9fb21c651e98df25u;
  return hash ^ (hash >> 29);
}

// Integer, SSE double and x87 long double work that depends on every step before.
__attribute__((noinline)) uint64_t Arithmetic() {
  guest::Rng rng(42);
  uint64_t hash = 1;
  double a = 1.5;
  long double b = 0.75L;
  for (int i = 1; i <= 20000; i++) {
    const auto random = static_cast<double>(rng.Next() >> 40);
    a = std::sqrt(a * a + random) / (1.0 + a * 1e-3);
    b = b * 0.99L + static_cast<long double>(a) / static_cast<long double>(i);
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    hash = Mix(hash, bits);
  }
  const auto rounded = static_cast<double>(b);
  uint64_t bits;
  memcpy(&bits, &rounded, sizeof bits);
  return Mix(hash, bits);
}

// Pattern and result of the register checks: general registers, then vector registers.
struct alignas(64) Image {
  uint64_t general[8];  // r8 to r15
  uint8_t vector[16][32];
  uint32_t mxcsr;
  uint16_t x87_control;
  double x87;
};

#define LOAD_GENERAL                                                                        \
  "mov 0(%[in]), %%r8\n mov 8(%[in]), %%r9\n mov 16(%[in]), %%r10\n mov 24(%[in]), %%r11\n" \
  "mov 32(%[in]), %%r12\n mov 40(%[in]), %%r13\n mov 48(%[in]), %%r14\n mov 56(%[in]), %%r15\n"
#define STORE_GENERAL                                                                           \
  "mov %%r8, 0(%[out])\n mov %%r9, 8(%[out])\n mov %%r10, 16(%[out])\n mov %%r11, 24(%[out])\n" \
  "mov %%r12, 32(%[out])\n mov %%r13, 40(%[out])\n mov %%r14, 48(%[out])\n"                     \
  "mov %%r15, 56(%[out])\n"
#define LOAD_VECTOR(op, reg, n) op " 64+32*" #n "(%[in]), %%" reg #n "\n"
#define STORE_VECTOR(op, reg, n) op " %%" reg #n ", 64+32*" #n "(%[out])\n"
#define ALL(what, op, reg)                                                                 \
  what(op, reg, 0) what(op, reg, 1) what(op, reg, 2) what(op, reg, 3) what(op, reg, 4)     \
      what(op, reg, 5) what(op, reg, 6) what(op, reg, 7) what(op, reg, 8) what(op, reg, 9) \
          what(op, reg, 10) what(op, reg, 11) what(op, reg, 12) what(op, reg, 13)          \
              what(op, reg, 14) what(op, reg, 15)
// CPUID always leaves a virtual machine; the loop without it is left by interrupts only.
#define HOLD                                                                    \
  "1: test %[exits], %[exits]\n jz 2f\n xor %%eax, %%eax\n mov %%rbx, %[rbx]\n" \
  "cpuid\n mov %[rbx], %%rbx\n 2: pause\n decq %[loops]\n jnz 1b\n"
#define CLOBBERS                                                                                 \
  "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",     \
      "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15", "cc", "memory"

// The two differ in the width of the vector registers only.
__attribute__((noinline)) void HoldSse(const Image* in, Image* out, uint64_t loops, bool exits) {
  uint64_t rbx;
  asm volatile(LOAD_GENERAL ALL(LOAD_VECTOR, "movdqu", "xmm")
                   HOLD STORE_GENERAL ALL(STORE_VECTOR, "movdqu", "xmm")
               : [loops] "+m"(loops), [rbx] "=m"(rbx)
               : [in] "D"(in), [out] "S"(out), [exits] "b"(static_cast<uint64_t>(exits))
               : CLOBBERS);
}

__attribute__((noinline)) void HoldAvx(const Image* in, Image* out, uint64_t loops, bool exits) {
  uint64_t rbx;
  asm volatile(LOAD_GENERAL ALL(LOAD_VECTOR, "vmovdqu", "ymm")
                   HOLD STORE_GENERAL ALL(STORE_VECTOR, "vmovdqu", "ymm") "vzeroupper\n"
               : [loops] "+m"(loops), [rbx] "=m"(rbx)
               : [in] "D"(in), [out] "S"(out), [exits] "b"(static_cast<uint64_t>(exits))
               : CLOBBERS);
}

// Holds patterns in the registers for a while, with unusual rounding modes and a value left on the
// x87 stack, and checks that all are still there.
bool RegistersSurvive(guest::Rng& rng, bool avx, bool exits) {
  Image in{};
  for (uint64_t& word : in.general) word = rng.Next();
  for (auto& vector : in.vector) {
    for (uint8_t& byte : vector) byte = static_cast<uint8_t>(rng.Next() >> 24);
  }
  in.mxcsr = 0x1f80u | static_cast<uint32_t>(rng.Below(4) << 13);
  in.x87_control = static_cast<uint16_t>(0x037fu | (rng.Below(4) << 10));
  in.x87 = static_cast<double>(rng.Next() >> 12);
  Image out = in;
  memset(out.general, 0, sizeof out.general);
  memset(out.vector, 0, sizeof out.vector);
  uint32_t old_mxcsr;
  uint16_t old_control;
  asm volatile("stmxcsr %0\n fnstcw %1" : "=m"(old_mxcsr), "=m"(old_control));
  asm volatile("ldmxcsr %0\n fldcw %1" : : "m"(in.mxcsr), "m"(in.x87_control));
  asm volatile("fldl %0" : : "m"(in.x87));
  (avx ? HoldAvx : HoldSse)(&in, &out, exits ? 20 : 20000, exits);
  asm volatile("fstpl %0" : "=m"(out.x87) : : "memory");
  asm volatile("stmxcsr %0\n fnstcw %1" : "=m"(out.mxcsr), "=m"(out.x87_control));
  asm volatile("ldmxcsr %0\n fldcw %1" : : "m"(old_mxcsr), "m"(old_control));
  bool same = memcmp(in.general, out.general, sizeof in.general) == 0;
  for (int i = 0; i < 16; i++) {
    same = same && memcmp(in.vector[i], out.vector[i], avx ? 32 : 16) == 0;
  }
  return same && (in.mxcsr & 0x6000) == (out.mxcsr & 0x6000) && in.x87_control == out.x87_control &&
         memcmp(&in.x87, &out.x87, sizeof in.x87) == 0;
}

bool MemorySurvives(std::vector<uint64_t>& memory, uint64_t seed) {
  guest::Rng writer(seed);
  for (uint64_t& word : memory) word = writer.Next();
  sched_yield();
  guest::Rng reader(seed);
  return std::all_of(memory.begin(), memory.end(),
                     [&reader](uint64_t word) { return word == reader.Next(); });
}

}  // namespace

uint64_t Registers(const Context& context) {
  const bool avx = __builtin_cpu_supports("avx");
  std::vector<Count> counts(context.cpus.size());
  guest::RunThreads(context.cpus, counts.size(), [&](size_t me) {
    guest::Rng rng(context.round * 101 + me);
    std::vector<uint64_t> memory(kWords);
    guest::Deadline deadline(context.seconds);
    while (!deadline.Passed()) {
      const uint64_t answer = Arithmetic();
      if (answer != kRightArithmetic) {
        context.verdict->Fail("registers: arithmetic gave %llx on cpu %d",
                              static_cast<unsigned long long>(answer), sched_getcpu());
      }
      if (!MemorySurvives(memory, rng.Next())) {
        context.verdict->Fail("registers: private memory changed on cpu %d", sched_getcpu());
      }
      for (const bool exits : {false, true}) {
        if (!RegistersSurvive(rng, false, exits) || (avx && !RegistersSurvive(rng, true, exits))) {
          context.verdict->Fail("registers: a register changed on cpu %d", sched_getcpu());
        }
      }
      counts[me].value += 4;
    }
  });
  return Sum(counts);
}

}  // namespace stress
