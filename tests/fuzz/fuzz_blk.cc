// Threat: a driver that hands over any chain of buffers with any header, and changes the header
// while the device reads it. Every request must lie within the disk and within the chain's own
// buffers, and say the same when it is derived again.
//
// Input: flags u8 (1: read-only, 2: discard, 4: write zeroes, 8: 4 KiB blocks), disk size u32 in
// sectors, readable count u8, count u8, then {gpa u16, bytes u16} for each segment, then the
// contents of RAM from 0 on.
#include "tests/fuzz/guest_ram.h"
#include "vmm/virtio/blk.h"

namespace dvm::fuzz {
namespace {

using namespace vmm;

constexpr u64 kRam = 128 * kKiB;

BlkGeometry take_geometry(Input& input) {
  const u8 flags = input.take<u8>();
  BlkGeometry g;
  g.read_only = (flags & 1) != 0;
  g.discard = (flags & 2) != 0;
  g.write_zeroes = (flags & 4) != 0;
  g.block_bytes = g.physical_bytes = (flags & 8) != 0 ? 4096 : 512;
  g.bytes = u64{input.take<u32>()} * g.block_bytes;
  g.id = blk_id("fuzz");
  return g;
}

Chain take_chain(Input& input) {
  Chain chain{};
  const u8 readable = input.take<u8>();
  const u32 count = input.take<u8>() + 1u;
  for (u32 i = 0; i < count; ++i) {
    const u64 gpa = input.take<u16>();
    const u32 bytes = input.take<u16>();
    if (bytes != 0) chain.segments[chain.count++] = {gpa, bytes};  // as queue_pop leaves them out
    if (i + 1 == readable) chain.readable_count = chain.count;
  }
  return chain;
}

bool within(std::span<const Segment> outer, u64 gpa, u64 bytes) {
  for (const Segment& s : outer) {
    if (gpa >= s.gpa && gpa + bytes <= s.gpa + s.bytes) return true;
  }
  return false;
}

void check(const Chain& chain, const BlkGeometry& g, const BlkRequest& r, BlkNext next) {
  FUZZ_CHECK(r.head == chain.head && r.count <= chain.count);
  if (next == BlkNext::needs_reset) return;
  FUZZ_CHECK(within(chain.writable(), r.status_gpa, 1));
  u64 sum = 0;
  for (const Segment& s : r.data()) {
    FUZZ_CHECK(s.bytes != 0);
    FUZZ_CHECK(within(r.op == BlkOp::write ? chain.readable() : chain.writable(), s.gpa, s.bytes));
    sum += s.bytes;
  }
  if (next == BlkNext::finish) return;
  FUZZ_CHECK(r.op != BlkOp::get_id);
  FUZZ_CHECK(r.offset <= g.bytes && r.bytes <= g.bytes - r.offset && r.bytes < u64{1} << 31);
  FUZZ_CHECK(r.offset % g.block_bytes == 0 && r.bytes % g.block_bytes == 0);
  FUZZ_CHECK(!g.read_only || r.op == BlkOp::read || r.op == BlkOp::flush);
  if (r.op == BlkOp::read || r.op == BlkOp::write) FUZZ_CHECK(sum == r.bytes && sum != 0);
}

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm::fuzz;
  static GuestRam ram(kRam);
  ram.clear();
  Input input(data, size);
  const auto geometry = take_geometry(input);
  const auto chain = take_chain(input);
  const auto contents = input.take_bytes(kRam / 2);
  if (!contents.empty()) (void)ram.memory().write(0, std::as_bytes(contents));
  static dvm::vmm::BlkRequest request, again;
  const auto next = dvm::vmm::blk_parse(chain, ram.memory(), geometry, request);
  check(chain, geometry, request, next);
  FUZZ_CHECK(dvm::vmm::blk_parse(chain, ram.memory(), geometry, again) == next);
  FUZZ_CHECK(again.offset == request.offset && again.bytes == request.bytes &&
             again.op == request.op && again.count == request.count);
  if (next == dvm::vmm::BlkNext::needs_reset) return 0;
  dvm::u64 room = 0;
  for (const auto& s : chain.writable()) room += s.bytes;
  const auto status = next == dvm::vmm::BlkNext::submit
                          ? dvm::vmm::blk_status_of(static_cast<int>(size % 3))
                          : request.status;
  const auto written = dvm::vmm::blk_finish(ram.memory(), request, geometry, status);
  FUZZ_CHECK(written.ok() && written.value() <= room);
  return 0;
}
