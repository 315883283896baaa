#include "hyperkernel/cache_lines.h"

#include <cpuid.h>
#include <immintrin.h>

namespace dvm::hyperkernel {
namespace {

constexpr u64 kLineBytes = 64;

enum class Flush { clwb, clflushopt, clflush };

Flush best_flush() {
  u32 a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return Flush::clflush;
  if ((b & (1u << 24)) != 0) return Flush::clwb;
  return (b & (1u << 23)) != 0 ? Flush::clflushopt : Flush::clflush;
}

template <typename Line>
void for_each_line(std::span<const std::byte> bytes, Line line) {
  const auto begin = reinterpret_cast<u64>(bytes.data()) & ~(kLineBytes - 1);
  const auto end = reinterpret_cast<u64>(bytes.data() + bytes.size());
  for (u64 at = begin; at < end; at += kLineBytes) line(reinterpret_cast<volatile char*>(at));
}

void flush(std::span<const std::byte> bytes, Flush how) {
  switch (how) {
    case Flush::clwb:
      for_each_line(bytes, [](volatile char* p) { asm volatile("clwb %0" : "+m"(*p)); });
      break;
    case Flush::clflushopt:
      for_each_line(bytes, [](volatile char* p) { asm volatile("clflushopt %0" : "+m"(*p)); });
      break;
    case Flush::clflush:
      for_each_line(bytes, [](volatile char* p) { asm volatile("clflush %0" : "+m"(*p)); });
      break;
  }
  _mm_mfence();
}

const Flush kBest = best_flush();

}  // namespace

void write_back_lines(std::span<const std::byte> bytes) { flush(bytes, kBest); }

void forget_lines(std::span<const std::byte> bytes) {
  flush(bytes, kBest == Flush::clwb ? Flush::clflushopt : kBest);
}

}  // namespace dvm::hyperkernel
