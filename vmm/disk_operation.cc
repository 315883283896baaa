#include "vmm/disk_operation.h"

namespace dvm::vmm {
namespace {

srt::DiskOp disk_op(BlkOp op) {
  switch (op) {
    case BlkOp::write: return srt::DiskOp::write;
    case BlkOp::flush: return srt::DiskOp::flush;
    case BlkOp::discard: return srt::DiskOp::discard;
    case BlkOp::write_zeroes: return srt::DiskOp::write_zeroes;
    case BlkOp::read:
    case BlkOp::get_id: break;  // answered without the disk
  }
  return srt::DiskOp::read;
}

}  // namespace

Status DiskOperation::map_buffers(const hyperkernel::GuestMemory& ram) {
  buffers.clear();
  memory.clear();
  if (request.op != BlkOp::read && request.op != BlkOp::write) return {};
  for (const Segment& segment : request.data()) {
    DVM_ASSIGN(const auto bytes, ram.span(segment.gpa, segment.bytes));
    buffers.push_back({bytes.data(), bytes.size()});
    memory.push_back({segment.gpa, segment.bytes});
  }
  return {};
}

bool DiskOperation::is_answered_by(srt::DiskReplicas& replicas, u64 disk_bytes) {
  if (request.op != BlkOp::read) return false;
  if (!looked_up) replicas.serve(all(), transfer, disk_bytes);
  looked_up = true;
  return transfer.left_bytes == 0;
}

srt::DiskRequest DiskOperation::disk_request() {
  const bool writes = request.op == BlkOp::write || request.op == BlkOp::write_zeroes;
  srt::DiskRequest asked{.op = disk_op(request.op),
                         .durable = durable && writes,
                         .unmap = request.unmap,
                         .offset = request.offset,
                         .bytes = request.bytes,
                         .buffers = buffers,
                         .cookie = reinterpret_cast<u64>(this)};
  if (!looked_up) return asked;
  const auto pad = [&](std::vector<std::byte>& bytes) {
    if (!bytes.empty()) left.push_back({bytes.data(), bytes.size()});
  };
  left.clear();
  pad(transfer.before);
  srt::cut(buffers, transfer.left_at, transfer.left_bytes, left);
  pad(transfer.after);
  asked.offset += transfer.left_at - transfer.before.size();
  asked.bytes = transfer.before.size() + transfer.left_bytes + transfer.after.size();
  asked.buffers = left;
  return asked;
}

void DiskOperation::begins(srt::DiskReplicas& replicas) {
  switch (request.op) {
    case BlkOp::write: return replicas.write_begins(all(), transfer);
    case BlkOp::discard:
    case BlkOp::write_zeroes: return replicas.range_changes(request.offset, request.bytes);
    case BlkOp::read:  // noted when it was looked up
    case BlkOp::flush:
    case BlkOp::get_id: break;
  }
}

void DiskOperation::ends(srt::DiskReplicas& replicas, bool done) {
  switch (request.op) {
    case BlkOp::read: return done ? replicas.read_ends(all(), transfer) : void();
    case BlkOp::write: return replicas.write_ends(all(), transfer, done);
    case BlkOp::discard:
    case BlkOp::write_zeroes: return replicas.range_changes(request.offset, request.bytes);
    case BlkOp::flush:
    case BlkOp::get_id: break;
  }
}

}  // namespace dvm::vmm
