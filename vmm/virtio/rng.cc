#include "vmm/virtio/rng.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "vmm/virtio/device.h"

namespace dvm::vmm {
namespace {

constexpr u32 kClassOther = 0x00'ff00;  // no class fits; what QEMU's rng shows
constexpr u64 kBounceBytes = 4 * kKiB;

// Random bytes go through a buffer of ours: the source may be the kernel, which must not meet a
// page fault that we ourselves would have to serve.
Status fill_segment(const hyperkernel::GuestMemory& memory, const Segment& segment, u32 bytes,
                    const RandomSource& random) {
  std::array<std::byte, kBounceBytes> bounce;
  for (u32 done = 0; done < bytes;) {
    const u32 part = static_cast<u32>(std::min<u64>(bytes - done, bounce.size()));
    const auto chunk = std::span(bounce).first(part);
    random(chunk);
    DVM_TRY(memory.write(segment.gpa + done, chunk));
    done += part;
  }
  return {};
}

Result<u32> fill_chain(const hyperkernel::GuestMemory& memory, const Chain& chain,
                       const RandomSource& random) {
  u32 written = 0;
  for (const Segment& segment : chain.writable()) {
    const u32 bytes = std::min(segment.bytes, kRngMaxChainBytes - written);
    DVM_TRY(fill_segment(memory, segment, bytes, random));
    written += bytes;
  }
  return written;
}

}  // namespace

void system_random(std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t got = getrandom(to.data(), to.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();  // no flags, a valid buffer: cannot fail (getrandom(2))
    to = to.subspan(static_cast<std::size_t>(got));
  }
}

VirtioPciState make_virtio_rng() {
  constexpr std::array<u16, 1> kQueueSizes = {kRngQueueSize};
  return make_virtio_pci({.id = virtio::DeviceId::rng,
                          .class_code = kClassOther,
                          .features = 0,
                          .queue_sizes = kQueueSizes});
}

Status rng_process(QueueState& queue, const hyperkernel::GuestMemory& memory,
                   const RandomSource& random) {
  Chain chain;
  // At most the queue's size of chains (queue_pop), each with at most kRngMaxChainBytes.
  for (;;) {
    DVM_ASSIGN(const bool taken, queue_pop(queue, memory, chain));
    if (!taken) return {};
    DVM_ASSIGN(const u32 written, fill_chain(memory, chain, random));
    DVM_TRY(queue_push_used(queue, memory, chain.head, written));
  }
}

}  // namespace dvm::vmm
