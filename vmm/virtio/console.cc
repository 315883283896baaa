#include "vmm/virtio/console.h"

#include <algorithm>
#include <cstring>

#include "vmm/virtio/device.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

constexpr u32 kClassOther = 0x07'8000;  // communication controller, other: what QEMU's shows
constexpr u64 kBounceBytes = 4 * kKiB;

// Moves the segment's bytes from `skip` on, up to `room`; returns how many.
Result<u64> take_segment(const GuestMemory& memory, const Segment& segment, u64 skip, u64 room,
                         u64 at, const ConsolePut& put) {
  std::array<std::byte, kBounceBytes> bounce;
  const u64 bytes = std::min(segment.bytes - skip, room);
  for (u64 done = 0; done < bytes;) {
    const auto part = std::span(bounce).first(std::min(bytes - done, kBounceBytes));
    DVM_TRY(memory.read(segment.gpa + skip + done, part));
    put(at + done, part);
    done += part.size();
  }
  return bytes;
}

// What there is room for of a chain, from queue.part on. True: all of it has gone.
Result<bool> take_chain(QueueState& queue, const GuestMemory& memory, const Chain& chain, u64& room,
                        const ConsolePut& put) {
  u64 begin = 0;  // of the segment, in the chain
  for (const Segment& segment : chain.readable()) {
    const u64 end = begin + segment.bytes;
    if (queue.part < end) {
      DVM_ASSIGN(const u64 moved,
                 take_segment(memory, segment, queue.part - begin, room, queue.moved, put));
      queue.part += moved;
      queue.moved += moved;
      room -= moved;
      if (queue.part < end) return false;
    }
    begin = end;
  }
  return true;
}

}  // namespace

VirtioPciState make_virtio_console(ConsoleSize size) {
  constexpr std::array<u16, 2> kQueueSizes = {kConsoleQueueSize, kConsoleQueueSize};
  const virtio::ConsoleConfig config{size.columns, size.rows};
  std::array<u8, sizeof(config)> bytes{};
  std::memcpy(bytes.data(), &config, sizeof(config));
  return make_virtio_pci({.id = virtio::DeviceId::console,
                          .class_code = kClassOther,
                          .features = virtio::kConsoleFeatureSize,
                          .queue_sizes = kQueueSizes,
                          .config = bytes});
}

void console_set_size(VirtioPciState& state, ConsoleSize size, Effects& effects) {
  const virtio::ConsoleConfig config{size.columns, size.rows};
  std::memcpy(state.device_config.data(), &config, sizeof(config));
  virtio_config_changed(state, effects);
}

Result<bool> console_transmit(QueueState& queue, const GuestMemory& memory, u64 room,
                              const ConsolePut& put) {
  Chain chain;
  for (;;) {
    const u16 at = queue.last_avail;
    DVM_ASSIGN(const bool any, queue_pop(queue, memory, chain));
    if (!any) return false;
    DVM_ASSIGN(const bool whole, take_chain(queue, memory, chain, room, put));
    if (!whole) {
      queue.last_avail = at;  // to be found again, by whoever has room
      return true;
    }
    queue.part = 0;
    DVM_TRY(queue_push_used(queue, memory, chain.head, 0));
  }
}

Status console_receive(QueueState& queue, const GuestMemory& memory, std::span<const char>& from) {
  Chain chain;
  while (!from.empty()) {
    DVM_ASSIGN(const bool any, queue_pop(queue, memory, chain));
    if (!any) return {};
    u32 written = 0;
    for (const Segment& segment : chain.writable()) {
      const auto part = from.first(std::min<u64>(segment.bytes, from.size()));
      if (part.empty()) break;
      DVM_TRY(memory.write(segment.gpa, std::as_bytes(part)));
      from = from.subspan(part.size());
      written += static_cast<u32>(part.size());
    }
    queue.moved += written;
    DVM_TRY(queue_push_used(queue, memory, chain.head, written));
  }
  return {};
}

}  // namespace dvm::vmm
