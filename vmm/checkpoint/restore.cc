#include "vmm/checkpoint/restore.h"

#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>

#include "hyperkernel/page_sums.h"
#include "vmm/checkpoint/origin.h"
#include "vmm/epoch_output.h"
#include "vmm/epoch_record.h"
#include "vmm/machine_resume.h"
#include "vmm/ram_place.h"
#include "vmm/virtio/net.h"

namespace dvm::vmm::checkpoint {
namespace {

using fabric::RegionKind;

// In whose hands requests were: nobody's that ever joins (machine_resume.cc).
constexpr u8 kLostHolder = fabric::kMaxInstances - 1;

// The machine's record, of a pool that `Machine::format` has made.
Status fill_machine(const fabric::Pool& pool, const Image& image, const MachineSpec& spec) {
  DVM_ASSIGN(auto* const state,
             pool.new_record<MachineState>(RegionKind::machine, kMachineVersion));
  const GuestBank& bank = *image.bank;
  std::ranges::copy(image.cpu, state->cpu.entries.begin());
  const auto entries = static_cast<u32>(image.cpu.size());
  state->cpu.checksum = cpu_checksum(state->cpu, entries);
  state->cpu.count.store(entries);
  state->entry = image.entry;
  DVM_TRY(check_bank(*state, bank));
  restore_bank(*state, bank, kLostHolder);
  for (u32 i = 0; i < spec.config.vcpus; ++i) {
    const VcpuState& v = bank.vcpus[i].state;
    DVM_TRY(check_vcpu_state(v, i, v.injection));
    state->vcpu_states[i] = v;
    const VcpuPlace place{.node = static_cast<u8>(spec.placement[i]),
                          .stage = PlaceStage::arriving};
    state->vcpus[i].place.store(place.packed());
    state->vcpus[i].run_state.store(VcpuRunState::outside);
  }
  // What the guest had said by then has been read where it was saved.
  state->console.consumed.store(state->serial.published().tx_count);
  state->console.writer_waits.store(1);
  if (const auto console = find_function(state->config.functions, FunctionKind::console)) {
    const auto& queue = state->functions[*console].queues[kConsoleTransmitQueue];
    state->virtio_console.consumed.store(queue.published().moved);
  }
  state->firmware_log.consumed.store(state->debug_port.published().written);
  MachineControl& control = state->control;
  control.boots.store(static_cast<u32>(bank.boot));
  control.boots_again.store(static_cast<u32>(bank.boot));
  control.resumed.store(kFromCheckpoint);
  return {};
}

Status read_firmware(const Machine& machine, File& file) {
  u64 page = machine.config().memory_bytes / kPageBytes;
  for (const hyperkernel::RamRange& range : machine.rom().ranges()) {
    DVM_TRY(file.read(page, std::span(range.host, range.bytes)));
    page += range.bytes / kPageBytes;
  }
  return {};
}

// Pages of zero bytes are not touched: they are.
Status read_ram(Machine& machine, File& file, const std::function<Status(u64 pages)>& go_on) {
  constexpr u64 kAskEvery = 256;
  u64 page = 0;
  for (const hyperkernel::RamRange& range : machine.memory().ranges()) {
    for (u64 at = 0; at < range.bytes; at += kPageBytes, ++page) {
      if (page % kAskEvery == 0) DVM_TRY(go_on(page));
      DVM_ASSIGN(const u64 sum, file.sum(page));
      if (sum != 0) DVM_TRY(file.read(page, std::span(range.host + at, kPageBytes)));
    }
  }
  return {};
}

// What makes it another guest than the one that was saved.
Status become_another(Machine& machine, const MachineConfig& was) {
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    const FunctionConfig& function = machine.config().functions[i];
    if (function.kind != FunctionKind::net || function.mac == was.functions[i].mac) continue;
    machine.change_device_config(i, [&](VirtioPciState& s) { net_set_mac(s, function.mac); });
  }
  return machine.renew_generation(true);
}

// Where somebody may resume it later.
Status begin_protection(Machine& machine, const GuestBank& bank) {
  if (!machine.pool().has_region(RegionKind::sums)) return {};
  const u64 first_frame = first_frame_of(machine.config(), machine.state().control.boots.load());
  DVM_ASSIGN(auto sums, hyperkernel::PageSums::of(machine.pool(), first_frame));
  if (machine.epoch() == nullptr) {
    sums.set_epoch(0);  // nothing follows what the guest writes
    return {};
  }
  sums.sum_all(machine.memory());
  sums.set_epoch(hyperkernel::PageSums::kAtRest);
  begin_epoch_with(*machine.epoch(), machine.state(), bank, sums);
  release_output(machine);
  return {};
}

Status name_origin(const fabric::Pool& pool, const File& file, const MachineSpec& spec, u32 boot) {
  DVM_ASSIGN(auto* const origin,
             hyperkernel::OriginPages::format(pool, spec.config.memory_bytes / kPageBytes));
  origin->place = ram_place_of(spec.config, boot);
  return name_files(*origin, file);
}

Result<std::unique_ptr<Machine>> make_machine(fabric::Pool pool, Restorable& from,
                                              const MachineSpec& spec,
                                              const std::function<Status(u64 pages)>& go_on) {
  GuestBank& bank = *from.image.bank;
  DVM_TRY(fill_machine(pool, from.image, spec));
  if (spec.has_origin) DVM_TRY(name_origin(pool, from.file, spec, static_cast<u32>(bank.boot)));
  DVM_ASSIGN(auto machine, Machine::attach(std::move(pool), kLauncherInstance));
  DVM_TRY(read_firmware(*machine, from.file));
  if (!spec.has_origin) DVM_TRY(read_ram(*machine, from.file, go_on));
  DVM_TRY(become_another(*machine, from.image.config));
  fill_bank(machine->state(), bank, bank.guest_tsc, bank.name);  // for the first epoch
  DVM_TRY(begin_protection(*machine, bank));
  MachineControl& control = machine->state().control;
  const u64 now = __rdtsc();
  const u64 clock = from.image.clock == 0 ? bank.guest_tsc - now : from.image.clock;
  if (static_cast<i64>(clock + now - bank.guest_tsc) < 0)
    return error("{}: its clock is not this host's", from.file.name());
  control.tsc_offset.store(clock);
  control.phase.store(from.image.paused ? Phase::paused : Phase::running);
  return machine;
}

}  // namespace

Result<Restorable> open_restorable(const std::string& path) {
  DVM_ASSIGN(File file, File::open(path));
  DVM_ASSIGN(Image image, decode(file));
  return Restorable{std::move(file), std::move(image)};
}

bool pages_come_on_touch(const MachineSpec& spec) {
  return spec.pool_path.empty() && spec.config.protection != Protection::epoch;
}

Result<std::unique_ptr<Machine>> restore_machine(Restorable& from, MachineSpec spec,
                                                 const std::function<Status(u64 pages)>& go_on) {
  DVM_TRY(check_tsc(from.file.name(), from.image.config.tsc_khz, spec.config.tsc_khz));
  spec.config.tsc_khz = from.image.config.tsc_khz;
  spec.has_origin = pages_come_on_touch(spec);
  DVM_ASSIGN(fabric::Pool pool, Machine::format(spec));
  const std::string file = pool.created_file() ? pool.path() : "";
  auto machine = make_machine(std::move(pool), from, spec, go_on);
  if (!machine.ok() && !file.empty()) ::unlink(file.c_str());
  return machine;
}

}  // namespace dvm::vmm::checkpoint
