#include "vmm/virtio/blk.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "vmm/virtio/device.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;
using virtio::BlkType;

constexpr u32 kClassScsiStorage = 0x01'0000;  // what QEMU's virtio-blk shows

u64 features_of(const BlkGeometry& g) {
  using namespace virtio;
  return kBlkFeatureSegMax | kBlkFeatureBlkSize | kBlkFeatureTopology | kBlkFeatureFlush |
         (g.queues > 1 ? kBlkFeatureMultiQueue : 0) | (g.read_only ? kBlkFeatureReadOnly : 0) |
         (g.discard && !g.read_only ? kBlkFeatureDiscard : 0) |
         (g.write_zeroes && !g.read_only ? kBlkFeatureWriteZeroes : 0);
}

virtio::BlkConfig config_of(const BlkGeometry& g) {
  virtio::BlkConfig c{};
  c.capacity = g.bytes / kBlkSectorBytes;
  c.seg_max = kBlkSegMax;
  c.blk_size = g.block_bytes;
  c.physical_block_exp = static_cast<u8>(std::countr_zero(g.physical_bytes / g.block_bytes));
  c.min_io_size = static_cast<u16>(g.physical_bytes / g.block_bytes);
  c.writeback = 1;
  c.num_queues = g.queues;
  if (g.discard && !g.read_only) {
    c.max_discard_sectors = kBlkMaxSectors;
    c.max_discard_seg = 1;  // as QEMU
    c.discard_sector_alignment = g.physical_bytes / kBlkSectorBytes;
  }
  if (g.write_zeroes && !g.read_only) {
    c.max_write_zeroes_sectors = kBlkMaxSectors;
    c.max_write_zeroes_seg = 1;
    c.write_zeroes_may_unmap = g.discard ? 1 : 0;
  }
  return c;
}

// Copies [skip, skip + to.size()) of what the segments hold; false if there is less.
bool copy_out(const GuestMemory& memory, std::span<const Segment> segments, u64 skip,
              std::span<std::byte> to) {
  for (const Segment& s : segments) {
    if (to.empty()) break;
    if (skip >= s.bytes) {
      skip -= s.bytes;
      continue;
    }
    const u64 part = std::min<u64>(s.bytes - skip, to.size());
    if (!memory.read(s.gpa + skip, to.first(part)).ok()) return false;
    to = to.subspan(part);
    skip = 0;
  }
  return to.empty();
}

// The segments' bytes [skip, skip + bytes), which are there.
void take_data(std::span<const Segment> segments, u64 skip, u64 bytes, BlkRequest& request) {
  for (const Segment& s : segments) {
    if (skip >= s.bytes) {
      skip -= s.bytes;
      continue;
    }
    const u64 part = std::min<u64>(s.bytes - skip, bytes);
    if (part == 0) return;
    request.segments[request.count++] = {s.gpa + skip, static_cast<u32>(part)};
    bytes -= part;
    skip = 0;
  }
}

// Whole blocks of the disk (§5.2.6.1), and no more than one request may have.
bool in_range(const BlkGeometry& g, u64 sector, u64 bytes) {
  const u64 sectors = g.bytes / kBlkSectorBytes;
  const u64 block_sectors = g.block_bytes / kBlkSectorBytes;
  return bytes % g.block_bytes == 0 && bytes / kBlkSectorBytes <= kBlkMaxSectors &&
         sector % block_sectors == 0 && sector <= sectors &&
         bytes / kBlkSectorBytes <= sectors - sector;
}

BlkNext finish(BlkRequest& request, BlkStatus status) {
  request.status = status;
  return BlkNext::finish;
}

BlkNext transfer(const BlkGeometry& g, u64 sector, std::span<const Segment> segments, u64 skip,
                 u64 bytes, BlkRequest& request) {
  if (!in_range(g, sector, bytes)) return finish(request, BlkStatus::io_error);
  if (request.op == BlkOp::write && g.read_only) return finish(request, BlkStatus::io_error);
  request.offset = sector * kBlkSectorBytes;
  request.bytes = bytes;
  take_data(segments, skip, bytes, request);
  return bytes == 0 ? finish(request, BlkStatus::ok) : BlkNext::submit;
}

// One range a request, as offered; what the driver may not ask for is UNSUPP (§5.2.6.2).
BlkNext range_request(const BlkGeometry& g, const Chain& chain, const GuestMemory& memory,
                      BlkRequest& request) {
  const bool offered = request.op == BlkOp::discard ? g.discard : g.write_zeroes;
  if (g.read_only || !offered) return finish(request, BlkStatus::unsupported);
  const u64 data = total_bytes(chain.readable()) - sizeof(virtio::BlkHeader);
  if (data < sizeof(virtio::BlkRange)) return BlkNext::needs_reset;
  if (data > sizeof(virtio::BlkRange)) return finish(request, BlkStatus::unsupported);
  virtio::BlkRange range{};
  if (!copy_out(memory, chain.readable(), sizeof(virtio::BlkHeader),
                std::as_writable_bytes(std::span(&range, 1)))) {
    return BlkNext::needs_reset;
  }
  const u64 bytes = u64{range.sectors} * kBlkSectorBytes;
  if (!in_range(g, range.sector, bytes)) return finish(request, BlkStatus::io_error);
  const bool unmap = (range.flags & virtio::kBlkRangeUnmap) != 0;
  if ((range.flags & ~virtio::kBlkRangeUnmap) != 0 || (unmap && request.op == BlkOp::discard)) {
    return finish(request, BlkStatus::unsupported);
  }
  request.offset = range.sector * kBlkSectorBytes;
  request.bytes = bytes;
  request.unmap = unmap && g.discard;
  return bytes == 0 ? finish(request, BlkStatus::ok) : BlkNext::submit;
}

std::optional<BlkOp> op_of(u32 type) {
  switch (static_cast<BlkType>(type)) {
    case BlkType::in: return BlkOp::read;
    case BlkType::out: return BlkOp::write;
    case BlkType::flush: return BlkOp::flush;
    case BlkType::get_id: return BlkOp::get_id;
    case BlkType::discard: return BlkOp::discard;
    case BlkType::write_zeroes: return BlkOp::write_zeroes;
  }
  return std::nullopt;
}

// GET_ID's text, as much as there is room for. Returns how much.
Result<u64> write_id(const GuestMemory& memory, const BlkRequest& request, const BlkGeometry& g) {
  std::span<const std::byte> rest = std::as_bytes(std::span(g.id));
  u64 written = 0;
  for (const Segment& s : request.data()) {
    const u64 part = std::min<u64>(s.bytes, rest.size());
    if (part == 0) break;
    DVM_TRY(memory.write(s.gpa, rest.first(part)));
    rest = rest.subspan(part);
    written += part;
  }
  return written;
}

}  // namespace

std::array<char, kBlkIdBytes> blk_id(std::string_view serial) {
  std::array<char, kBlkIdBytes> id{};
  std::copy_n(serial.begin(), std::min(serial.size(), id.size()), id.begin());
  return id;
}

VirtioPciState make_virtio_blk(const BlkGeometry& geometry) {
  std::array<u16, kMaxVirtioQueues> sizes{};
  sizes.fill(kBlkQueueSize);
  const virtio::BlkConfig config = config_of(geometry);
  std::array<u8, sizeof(config)> bytes{};
  std::memcpy(bytes.data(), &config, sizeof(config));
  return make_virtio_pci(
      {.id = virtio::DeviceId::block,
       .class_code = kClassScsiStorage,
       .features = features_of(geometry),
       .queue_sizes = std::span(sizes).first(std::min(geometry.queues, kMaxVirtioQueues)),
       .config = bytes});
}

void blk_set_capacity(VirtioPciState& state, u64 bytes, Effects& effects) {
  const u64 sectors = bytes / kBlkSectorBytes;
  static_assert(offsetof(virtio::BlkConfig, capacity) == 0);
  std::memcpy(state.device_config.data(), &sectors, sizeof(sectors));
  virtio_config_changed(state, effects);
}

bool blk_writes_through(const VirtioPciState& state) {
  return (state.driver_features & virtio::kBlkFeatureFlush) == 0;
}

BlkNext blk_parse(const Chain& chain, const GuestMemory& memory, const BlkGeometry& geometry,
                  BlkRequest& request) {
  request.op = BlkOp::get_id;
  request.status = BlkStatus::io_error;
  request.unmap = false;
  request.head = chain.head;
  request.count = 0;
  request.offset = request.bytes = request.status_gpa = request.writable_data = 0;
  virtio::BlkHeader header{};
  if (chain.writable().empty() ||
      !copy_out(memory, chain.readable(), 0, std::as_writable_bytes(std::span(&header, 1)))) {
    return BlkNext::needs_reset;
  }
  // The status byte is the last writable one, in whatever segment that is (§5.2.6.4).
  const Segment& last = chain.writable().back();
  request.status_gpa = last.gpa + last.bytes - 1;
  request.writable_data = total_bytes(chain.writable()) - 1;
  const auto op = op_of(header.type);
  if (!op) return finish(request, BlkStatus::unsupported);
  request.op = *op;
  switch (*op) {
    case BlkOp::read:
      return transfer(geometry, header.sector, chain.writable(), 0, request.writable_data, request);
    case BlkOp::write:
      return transfer(geometry, header.sector, chain.readable(), sizeof(header),
                      total_bytes(chain.readable()) - sizeof(header), request);
    case BlkOp::flush: return BlkNext::submit;
    case BlkOp::get_id:
      take_data(chain.writable(), 0, request.writable_data, request);
      return finish(request, BlkStatus::ok);
    case BlkOp::discard:
    case BlkOp::write_zeroes: return range_request(geometry, chain, memory, request);
  }
  return BlkNext::needs_reset;
}

Result<u32> blk_finish(const GuestMemory& memory, const BlkRequest& request,
                       const BlkGeometry& geometry, BlkStatus status) {
  u64 written = 0;
  if (status == BlkStatus::ok && request.op == BlkOp::read) written = request.bytes;
  if (status == BlkStatus::ok && request.op == BlkOp::get_id) {
    DVM_ASSIGN(written, write_id(memory, request, geometry));
  }
  DVM_TRY(memory.store(request.status_gpa, static_cast<u8>(status)));
  return static_cast<u32>(written == request.writable_data ? written + 1 : written);
}

BlkStatus blk_status_of(int disk_errno) {
  if (disk_errno == 0) return BlkStatus::ok;
  return disk_errno == ENOTSUP ? BlkStatus::unsupported : BlkStatus::io_error;
}

}  // namespace dvm::vmm
