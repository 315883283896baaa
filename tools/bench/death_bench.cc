#include "tools/bench/death_bench.h"

#include <unistd.h>

#include <algorithm>

#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"
#include "tools/bench/victim.h"

namespace dvm::tools {
namespace {

constexpr u32 kNodes = 3;  // with one vCPU each

Result<DeathFigures> let_nodes_die(const std::string& name, const std::string& pool_path,
                                   std::span<const DeathKind> kinds, u32 deaths) {
  DVM_ASSIGN(Victim victim, Victim::open(name, pool_path));
  DeathFigures figures;
  for (u32 i = 0; i < deaths; ++i) {
    for (const DeathKind kind : kinds) {
      const u32 number = static_cast<u32>(kind);
      const u32 node = (i + number) % kNodes;
      DVM_ASSIGN(const DeathInstants at, victim.lose(node, kind));
      add_death(at, figures[number]);
      DVM_TRY(victim.come_back(node));
    }
  }
  DVM_TRY(victim.stop());
  return figures;
}

}  // namespace

void add_death(const DeathInstants& at, DeathSamples& samples) {
  const u64 noticed = at.noticed < at.end ? at.fenced : std::min(at.noticed, at.fenced);
  const std::array<u64, kDeathParts.size() + 1> instants = {at.end,       noticed,   at.fenced,
                                                            at.committed, at.loaded, at.entered};
  const auto us = [](u64 from, u64 to) {
    return (static_cast<double>(to) - static_cast<double>(from)) / 1000;
  };
  samples.pause_us.push_back(us(at.end, at.entered));
  for (std::size_t i = 0; i < kDeathParts.size(); ++i)
    samples.parts_us[i].push_back(us(instants[i], instants[i + 1]));
}

Result<DeathFigures> measure_deaths(const RecoveryOptions& options, const std::string& protect,
                                    std::span<const DeathKind> kinds, const std::string& dvm_run) {
  const std::string name = fmt::format("bench-recovery-{}", ::getpid());
  const std::string pool = "/dev/shm/dvm-" + name;
  std::optional<Result<DeathFigures>> figures;
  const ConsoleRequest request{
      .words = {dvm_run, "--name", name, "--pool", pool, "--protect", protect, "--nodes",
                fmt::to_string(kNodes), "--cpus", fmt::to_string(kNodes), "--memory",
                fmt::to_string(options.memory), "--kernel", options.kernel, "--initrd",
                options.initrd, "--append=" + busy_append(kNodes)},
      .marker = "DVM-USERSPACE",
      .limit_s = options.limit_s + 10.0 * kDeathKinds * options.deaths,
      .at_marker = [&] { figures = let_nodes_die(name, pool, kinds, options.deaths); },
      .on_line = {}};
  const auto run = run_on_console(request);
  ::unlink(pool.c_str());
  if (!run.ok()) return run.error();
  if (!figures) return error("the guest did not start: {}", run->tail);
  return std::move(*figures);
}

}  // namespace dvm::tools
