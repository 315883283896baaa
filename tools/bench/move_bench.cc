#include "tools/bench/move_bench.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "fabric/pool.h"
#include "tools/bench/bare_state.h"
#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"
#include "tools/guest_connection.h"
#include "vmm/machine_state.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u32 kWarmUp = 4;
constexpr const char* kMarker = "DVM-USERSPACE";

double us_between(const std::atomic<u64>& from, const std::atomic<u64>& to) {
  return (static_cast<double>(to.load()) - static_cast<double>(from.load())) / 1000;
}

void add_move(const vmm::VcpuMove& m, MoveSamples& samples) {
  const std::array<const std::atomic<u64>*, kMoveParts.size() + 1> instants = {
      &m.begun, &m.completed, &m.saved, &m.committed, &m.woken, &m.checked, &m.loaded, &m.entered};
  samples.pause_us.push_back(us_between(m.begun, m.entered));
  for (std::size_t i = 0; i < kMoveParts.size(); ++i)
    samples.parts_us[i].push_back(us_between(*instants[i], *instants[i + 1]));
}

// While the guest runs. The pool is looked at, and not written.
Result<MoveSamples> move_to_and_fro(const std::string& name, const std::string& pool_path,
                                    u32 moves) {
  DVM_ASSIGN(Fd fd, Fd::open(pool_path, O_RDWR));
  DVM_ASSIGN(const fabric::Pool pool, fabric::Pool::attach(std::move(fd), pool_path));
  DVM_ASSIGN(const auto* state,
             pool.record<vmm::MachineState>(fabric::RegionKind::machine, vmm::kMachineVersion));
  DVM_ASSIGN(BareState bare, BareState::make(state->cpu));
  DVM_ASSIGN(const RunningGuest guest, find_guest(name));
  DVM_ASSIGN(GuestConnection connection, GuestConnection::open(guest));
  MoveSamples samples;
  auto copy = std::make_unique<vmm::VcpuState>();
  for (u32 i = 0; i < kWarmUp + moves; ++i) {
    const u32 to = 1 - state->vcpus[0].node();
    const auto moved = connection.ask({{"command", "migrate-vcpu"}, {"vcpu", 0}, {"to", to}});
    if (!moved.ok()) return moved.error();
    *copy = state->vcpu_states[0];
    DVM_ASSIGN(const BareTimes times, bare.measure(*copy));
    if (i < kWarmUp) continue;
    add_move(state->vcpus[0].move, samples);
    samples.bare_get_us.push_back(times.get_us);
    samples.bare_set_us.push_back(times.set_us);
  }
  const auto stopped = connection.ask({{"command", "stop"}});
  if (!stopped.ok()) return stopped.error();
  return samples;
}

}  // namespace

Result<MoveSamples> measure_moves(const MigrateOptions& options, const std::string& dvm_run) {
  const std::string name = fmt::format("bench-migrate-{}", ::getpid());
  const std::string pool = "/dev/shm/dvm-" + name;
  std::optional<Result<MoveSamples>> samples;
  const ConsoleRequest request{
      .words = {dvm_run, "--name", name, "--pool", pool, "--nodes", "2", "--cpus", "1", "--memory",
                fmt::to_string(options.memory), "--kernel", options.kernel, "--initrd",
                options.initrd, "--append=" + busy_append()},
      .marker = kMarker,
      .limit_s = options.limit_s,
      .at_marker = [&] { samples = move_to_and_fro(name, pool, options.moves); },
      .on_line = {}};
  DVM_ASSIGN(const ConsoleRun run, run_on_console(request));
  ::unlink(pool.c_str());
  if (!samples) return error("the guest did not start: {}", run.tail);
  return std::move(*samples);
}

}  // namespace dvm::tools
