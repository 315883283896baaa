#include "vmm/guest_bank.h"

#include <algorithm>
#include <cstring>

#include "fabric/crc32c.h"
#include "vmm/guest_cells.h"

namespace dvm::vmm {
namespace {

constexpr u64 rounded(u64 bytes) { return (bytes + 7) / 8 * 8; }

template <typename T>
void orphan(T&, u8) {}
void orphan(QueueState& queue, u8 dead_holder) {
  for (u8& holder : queue.holder) holder = holder != 0 ? dead_holder : u8{0};
}

u64 bytes_of_cells(const MachineState& machine) {
  u64 bytes = 0;
  for_each_guest_cell(machine, [&](const auto& cell) { bytes += rounded(sizeof(cell.slots[0])); });
  return bytes;
}

template <typename T>
u32 add_checksum(u32 sum, const T& part) {
  return fabric::crc32c(std::as_bytes(std::span(&part, 1)), sum);
}

// A vCPU's state from KVM goes in by its own checksum (vcpu_state.h). Precondition: device_bytes in
// range.
u32 checksum_of(const MachineState& machine, const GuestBank& bank) {
  u32 sum = fabric::crc32c(std::span(bank.devices).first(bank.device_bytes));
  sum = add_checksum(sum, bank.boot);
  sum = add_checksum(sum, bank.guest_tsc);
  sum = add_checksum(sum, bank.name);
  for (u32 i = 0; i < machine.config.vcpus; ++i) {
    const VcpuBank& v = bank.vcpus[i];
    sum = add_checksum(sum, v.state.checksum);
    sum = add_checksum(sum, v.lapic);
    sum = add_checksum(sum, v.inbox);
    sum = add_checksum(sum, v.clock);
    sum = add_checksum(sum, v.started);
    sum = add_checksum(sum, v.interruptible_halt);
  }
  return sum;
}

// Bits that are set in a word of the inbox, and nothing of it lost that is set meanwhile: nothing
// is.
template <typename Inbox, typename Visit>
void for_each_word(Inbox& inbox, Visit&& visit) {
  u32 i = 0;
  for (auto& word : inbox.irr) visit(word, i++);
  for (auto& word : inbox.tmr) visit(word, i++);
  visit(inbox.signals, i++);
  visit(inbox.ext_int, i++);
}

}  // namespace

void fill_bank(const MachineState& machine, GuestBank& bank, u64 guest_tsc, BankName name) {
  bank.boot = machine.control.boots.load();
  bank.guest_tsc = guest_tsc;
  u64 at = 0;
  for_each_guest_cell(machine, [&](const auto& cell) {
    const auto& state = cell.published();
    std::memcpy(bank.devices.data() + at, &state, sizeof(state));
    at += rounded(sizeof(state));
  });
  bank.device_bytes = at;
  bank.name = name;
  for (u32 i = 0; i < machine.config.vcpus; ++i) {
    const VcpuRecord& v = machine.vcpus[i];
    VcpuBank& to = bank.vcpus[i];
    copy_lapic(v.lapic, to.lapic);
    for_each_word(v.inbox, [&](const auto& word, u32 n) { to.inbox[n] = word.load(); });
    to.clock = v.clock;
    to.started = v.started.load();
    to.interruptible_halt = v.interruptible_halt.load();
  }
  bank.checksum = checksum_of(machine, bank);
}

Status check_bank(const MachineState& machine, const GuestBank& bank) {
  if (bank.device_bytes != bytes_of_cells(machine) || bank.device_bytes > bank.devices.size() ||
      bank.checksum != checksum_of(machine, bank)) {
    return error("the saved state of the devices is damaged: its checksum is wrong");
  }
  return {};
}

void restore_bank(MachineState& machine, const GuestBank& bank, u8 dead_holder) {
  u64 at = 0;
  for_each_guest_cell(machine, [&](auto& cell) {
    auto state = cell.published();
    std::memcpy(static_cast<void*>(&state), bank.devices.data() + at, sizeof(state));
    at += rounded(sizeof(state));
    orphan(state, dead_holder);
    cell.reset(state);
  });
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (machine.config.functions[i].kind != FunctionKind::none) follow_bar(machine.functions[i]);
  }
  for (u32 i = 0; i < machine.config.vcpus; ++i) {
    VcpuRecord& v = machine.vcpus[i];
    const VcpuBank& from = bank.vcpus[i];
    copy_lapic(from.lapic, v.lapic);
    for_each_word(v.inbox, [&](auto& word, u32 n) { word.store(from.inbox[n]); });
    v.clock = from.clock;
    v.started.store(from.started);
    v.interruptible_halt.store(from.interruptible_halt);
    v.journal.phase.store(VcpuPhase::outside);
  }
}

}  // namespace dvm::vmm
