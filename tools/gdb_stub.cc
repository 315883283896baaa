#include "tools/gdb_stub.h"

#include <algorithm>

#include "tools/gdb_packet.h"

namespace dvm::tools {
namespace {

// gdb knows no more of an error than its number.
const std::string kOk = "OK", kError = "E01", kBadMemory = "E0e";
constexpr u64 kMostMemory = GdbPackets::kMaxPacket / 2 - 16;

bool skip(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

}  // namespace

// "0" and "-1" are any thread: the one at hand.
std::optional<u32> GdbStub::vcpu_of(std::string_view thread) const {
  if (thread == "0" || thread == "-1") return vcpu_;
  const auto number = take_number(thread);
  if (!number || !thread.empty() || *number == 0 || *number > machine_.vcpus()) return std::nullopt;
  return static_cast<u32>(*number - 1);
}

std::string GdbStub::stop_reply() {
  const StopCause cause = machine_.take_cause();
  if (cause.vcpu) vcpu_ = *cause.vcpu;
  if (stepped_) vcpu_ = *stepped_;
  const bool trap = cause.vcpu || stepped_;
  stepped_.reset();
  std::string why;
  if (cause.kind) {
    switch (*cause.kind) {
      case BreakpointKind::software: why = "swbreak:;"; break;
      case BreakpointKind::execute: why = "hwbreak:;"; break;
      case BreakpointKind::write: why = fmt::format("watch:{:x};", cause.address); break;
      case BreakpointKind::read: why = fmt::format("rwatch:{:x};", cause.address); break;
      case BreakpointKind::access: why = fmt::format("awatch:{:x};", cause.address); break;
    }
  }
  return fmt::format("T{}thread:{:x};{}", trap ? "05" : "02", vcpu_ + 1, why);
}

GdbStub::Answer GdbStub::handle(std::string_view packet) {
  if (packet.empty()) return {""};
  const char what = packet.front();
  const std::string_view words = packet.substr(1);
  switch (what) {
    case '?': return {stop_reply()};
    case 'q':
    case 'Q':
    case 'v': return query(packet);
    case 'H': return {select(words)};
    case 'T': return {vcpu_of(words) ? kOk : kError};
    case 'g': return {read_registers()};
    case 'G': return {write_registers(words)};
    case 'p': return {read_register(words)};
    case 'P': return {write_register(words)};
    case 'm': return {read_memory(words)};
    case 'M': return {write_memory(words, false)};
    case 'X': return {write_memory(words, true)};
    case 'Z': return {breakpoint(words, true)};
    case 'z': return {breakpoint(words, false)};
    case 'c': return {std::nullopt, Then::run};
    case 's': return step(vcpu_);
    case 'D': return {kOk, Then::leave};
    case 'k': machine_.kill_guest(); return {std::nullopt, Then::leave};
    default: return {""};  // not known
  }
}

GdbStub::Answer GdbStub::query(std::string_view packet) {
  if (packet.starts_with("qSupported"))
    return {
        fmt::format("PacketSize={:x};qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
                    "QStartNoAckMode+",
                    GdbPackets::kMaxPacket)};
  if (packet == "QStartNoAckMode") {
    acknowledges_ = false;
    return {kOk};
  }
  if (packet == "qAttached") return {"1"};
  if (packet == "qC") return {fmt::format("QC{:x}", vcpu_ + 1)};
  if (packet == "qfThreadInfo") return {thread_list()};
  if (packet == "qsThreadInfo") return {"l"};
  if (packet == "vCont?") return {"vCont;c;C;s;S"};
  if (skip(packet, "qThreadExtraInfo,")) {
    const auto vcpu = vcpu_of(packet);
    return {vcpu ? to_hex(machine_.describe(*vcpu)) : kError};
  }
  if (skip(packet, "qXfer:features:read:target.xml:")) return {transfer(packet)};
  if (skip(packet, "vCont;")) return resume(packet);
  return {""};
}

// Actions for threads, the first that fits a thread counts. A step of one comes before going on.
GdbStub::Answer GdbStub::resume(std::string_view actions) {
  while (!actions.empty()) {
    const auto end = std::min(actions.find(';'), actions.size());
    std::string_view action = actions.substr(0, end);
    actions.remove_prefix(std::min(end + 1, actions.size()));
    const auto colon = action.find(':');
    const std::string_view thread = colon == action.npos ? "-1" : action.substr(colon + 1);
    const auto vcpu = vcpu_of(thread);
    if (action.empty() || !vcpu) return {kError};
    if (action.front() == 's' || action.front() == 'S') return step(*vcpu);
    if (action.front() != 'c' && action.front() != 'C') return {kError};
  }
  return {std::nullopt, Then::run};
}

GdbStub::Answer GdbStub::step(u32 vcpu) {
  if (!machine_.step(vcpu).ok()) return {kError};
  stepped_ = vcpu;
  return {stop_reply()};
}

// "m" and a part of the description, or "l" and its last.
std::string GdbStub::transfer(std::string_view range) const {
  const std::string& xml = gdb_target_description();
  const auto offset = take_number(range);
  if (!offset || !skip(range, ",")) return kError;
  const auto bytes = take_number(range);
  if (!bytes || *offset > xml.size()) return kError;
  const std::string part = xml.substr(*offset, std::min<u64>(*bytes, GdbPackets::kMaxPacket / 2));
  return (*offset + part.size() < xml.size() ? "m" : "l") + part;
}

std::string GdbStub::thread_list() const {
  std::string list = "m";
  for (u32 v = 0; v < machine_.vcpus(); ++v)
    list += fmt::format("{}{:x}", v == 0 ? "" : ",", v + 1);
  return list;
}

// Hg, for what is read and written; Hc says nothing that vCont does not say better.
std::string GdbStub::select(std::string_view words) {
  if (words.empty()) return kError;
  const auto vcpu = vcpu_of(words.substr(1));
  if (!vcpu) return kError;
  if (words.front() == 'g') vcpu_ = *vcpu;
  return kOk;
}

std::string GdbStub::read_registers() {
  const auto file = machine_.registers(vcpu_);
  if (!file) return kError;
  std::string bytes;
  for (u32 i = 0; i < gdb_register_count(); ++i) bytes += read_gdb_register(*file, i);
  return to_hex(bytes);
}

std::string GdbStub::write_registers(std::string_view hex) {
  const auto file = machine_.registers(vcpu_);
  const auto bytes = from_hex(hex);
  if (!file || !bytes) return kError;
  std::string_view rest = *bytes;
  u64 all = 0;
  for (u32 i = 0; i < gdb_register_count(); ++i) all += gdb_register_bytes(i);
  if (rest.size() != all) return kError;
  for (u32 i = 0; i < gdb_register_count(); ++i) {
    write_gdb_register(*file, i, rest.substr(0, gdb_register_bytes(i)));
    rest.remove_prefix(gdb_register_bytes(i));
  }
  machine_.registers_changed(vcpu_);
  return kOk;
}

std::string GdbStub::read_register(std::string_view words) {
  const auto number = take_number(words);
  const auto file = machine_.registers(vcpu_);
  if (!number || !words.empty() || *number >= gdb_register_count() || !file) return kError;
  return to_hex(read_gdb_register(*file, static_cast<u32>(*number)));
}

std::string GdbStub::write_register(std::string_view words) {
  const auto number = take_number(words);
  const auto file = machine_.registers(vcpu_);
  if (!number || !skip(words, "=") || *number >= gdb_register_count() || !file) return kError;
  const auto bytes = from_hex(words);
  if (!bytes || !write_gdb_register(*file, static_cast<u32>(*number), *bytes)) return kError;
  machine_.registers_changed(vcpu_);
  return kOk;
}

std::string GdbStub::read_memory(std::string_view words) {
  const auto address = take_number(words);
  if (!address || !skip(words, ",")) return kError;
  const auto bytes = take_number(words);
  if (!bytes || !words.empty()) return kError;
  const auto got = machine_.read(vcpu_, *address, std::min(*bytes, kMostMemory));
  return got.ok() ? to_hex(*got) : kBadMemory;
}

std::string GdbStub::write_memory(std::string_view words, bool binary) {
  const auto address = take_number(words);
  if (!address || !skip(words, ",")) return kError;
  const auto bytes = take_number(words);
  if (!bytes || !skip(words, ":")) return kError;
  const auto data = binary ? std::optional(std::string(words)) : from_hex(words);
  if (!data || data->size() != *bytes) return kError;
  return machine_.write(vcpu_, *address, *data).ok() ? kOk : kBadMemory;
}

// KIND,ADDRESS,BYTES; conditions and commands are not offered.
std::string GdbStub::breakpoint(std::string_view words, bool insert) {
  const auto kind = take_number(words);
  if (!kind || !skip(words, ",")) return kError;
  const auto address = take_number(words);
  if (!address || !skip(words, ",")) return kError;
  const auto bytes = take_number(words);
  if (!bytes) return kError;
  if (*kind > static_cast<u32>(BreakpointKind::access)) return "";
  const auto what = static_cast<BreakpointKind>(*kind);
  const Status done = insert ? machine_.insert(what, vcpu_, *address, *bytes)
                             : machine_.remove(what, vcpu_, *address, *bytes);
  return done.ok() ? kOk : kBadMemory;
}

}  // namespace dvm::tools
