// The virtio functions: their registers on the bus, their queues' steps, their interrupts.
#include <algorithm>
#include <thread>

#include "vmm/disk_server.h"
#include "vmm/machine_steps.h"
#include "vmm/virtio/common_config.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"

namespace dvm::vmm {
namespace {

// All queues of a function, for a step that none of them may see half done. Ascending; the device's
// own lock comes after.
class AllQueues {
 public:
  AllQueues(VirtioFunction& function, fabric::InstanceId self,
            const fabric::InstanceTable& instances)
      : function_(function) {
    for (auto& queue : function_.queues) (void)fabric::acquire(queue.lock, self, instances);
  }
  ~AllQueues() {
    for (auto& queue : function_.queues) fabric::release(queue.lock);
  }
  AllQueues(const AllQueues&) = delete;
  AllQueues& operator=(const AllQueues&) = delete;

 private:
  VirtioFunction& function_;
};

VirtioPciState make_function(const FunctionConfig& config, u64 capacity) {
  switch (config.kind) {
    case FunctionKind::rng: return make_virtio_rng();
    case FunctionKind::net:
      return make_virtio_net({.mac = config.mac,
                              .pairs = static_cast<u16>(config.queues),
                              .offloads = (config.flags & kNetOffloads) != 0,
                              .ecn = (config.flags & kNetEcn) != 0});
    case FunctionKind::block: return make_virtio_blk(block_geometry(config, capacity));
    case FunctionKind::console: return make_virtio_console(ConsoleSize::unpack(capacity));
    case FunctionKind::balloon: return make_virtio_balloon(capacity);
    default: return {};
  }
}

}  // namespace

// --- finding -------------------------------------------------------------------------------------

std::optional<u32> Machine::function_in_slot(u8 device) const {
  const u32 function = device - 1u;
  if (function >= kMaxFunctions || config().functions[function].kind == FunctionKind::none)
    return std::nullopt;
  return function;
}

std::optional<u32> Machine::function_at(u64 address) const {
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    const u64 base = state_->functions[i].bar.load(std::memory_order_acquire);
    if (base != 0 && address >= base && address - base < kVirtioBarBytes) return i;
  }
  return std::nullopt;
}

// --- registers -----------------------------------------------------------------------------------

// A step of the registers, with what follows from it. The caller kicks the vCPUs it returns, after
// it has given back its own locks.
VcpuSet Machine::step_function(u32 function,
                               const std::function<void(VirtioPciState&, Effects&)>& change) {
  VirtioFunction& f = state_->functions[function];
  const Line line = function_line(function);
  const CellGuard guard(f.device, *this);
  const bool before = virtio_irq(f.device.published());
  Effects effects;
  publish_step(f.device, [&](VirtioPciState& s) { change(s, effects); });
  follow_bar(f);
  VcpuSet changed = 0;
  const bool after = virtio_irq(f.device.published());
  if (before != after || guard.result().from_dead())
    changed = drive_line(line.pin, line.source, after);
  fabric::failpoint("device.line_driven");
  changed |= post_msis(effects);
  fabric::failpoint("device.msis_posted");
  f.counters.interrupts.fetch_add(effects.msi_count + (after && !before ? 1u : 0u),
                                  std::memory_order_relaxed);
  return changed;
}

// No queue is served meanwhile: what the driver sets up, and takes back by a reset, is theirs.
void Machine::write_function(
    u32 function, const std::function<BarWriteResult(VirtioPciState&, Effects&)>& write) {
  VcpuSet changed = 0;
  std::optional<u16> notified;
  {
    const AllQueues held(state_->functions[function], self_, *instances_);
    const bool busy = in_flight(function);
    changed = step_function(function, [&](VirtioPciState& s, Effects& effects) {
      const BarWriteResult result = write(s, effects);
      notified = result.notified;
      if (s.reset_pending != 0 && !busy) virtio_reset(s);
    });
  }
  kick_all(changed, std::nullopt);
  if (notified) serve_notified(function, *notified, false);
}

// After its BAR may have moved: until no node that lives has an ioeventfd where it was. The nodes'
// main threads see to it, which do not wait for vCPUs while the machine runs or is paused.
void Machine::wait_for_ioeventfds(u32 function) {
  constexpr auto kNap = std::chrono::microseconds(50);
  VirtioFunction& f = state_->functions[function];
  const u64 here = f.bar.load();
  for (u32 node = 0; node < layout::kMaxNodes; ++node) {
    const auto elsewhere = [&] {
      const u64 there = f.ioeventfd_bars[node].load();
      const Phase phase = state_->control.phase.load();
      return there != 0 && there != here && (phase == Phase::running || phase == Phase::paused) &&
             is_alive(node);
    };
    while (elsewhere()) {
      fabric::ring(state_->nodes[node].bell);
      std::this_thread::sleep_for(kNap);
    }
  }
}

void Machine::change_device_config(u32 function,
                                   const std::function<void(VirtioPciState&)>& change) {
  kick_all(step_function(function,
                         [&](VirtioPciState& s, Effects& effects) {
                           change(s);
                           virtio_config_changed(s, effects);
                         }),
           std::nullopt);
}

// The capacity first: a reset that comes in between makes the device with it.
void Machine::grow_disk(u32 function, u64 bytes) {
  state_->functions[function].capacity.store(bytes);
  kick_all(
      step_function(function, [bytes](VirtioPciState& s,
                                      Effects& effects) { blk_set_capacity(s, bytes, effects); }),
      std::nullopt);
}

VcpuSet Machine::fail_function(u32 function) {
  state_->functions[function].counters.errors.fetch_add(1, std::memory_order_relaxed);
  return step_function(function,
                       [](VirtioPciState& s, Effects& effects) { virtio_fail(s, effects); });
}

// --- queues --------------------------------------------------------------------------------------

void Machine::serve_notified(u32 function, u16 queue, bool again) {
  if (!again)
    state_->functions[function].counters.notifications.fetch_add(1, std::memory_order_relaxed);
  switch (config().functions[function].kind) {
    case FunctionKind::rng: return serve_rng(function, queue, again);
    case FunctionKind::console: return serve_hvc(function, queue, again);
    case FunctionKind::balloon: return serve_balloon(function, queue, again);
    default: break;
  }
  if (QueueServer* server = servers_[function]) server->serve(queue, again);
}

void Machine::serve_rng(u32 function, u16 queue, bool again) {
  constexpr auto relaxed = std::memory_order_relaxed;
  FunctionCounters& counters = state_->functions[function].counters;
  serve_queue(function, queue, again, [&](QueueState& q, const LiveQueue&) {
    const auto counted = [&](std::span<std::byte> to) {
      system_random(to);
      counters.in_bytes.fetch_add(to.size(), relaxed);
    };
    const u16 before = q.used_idx;
    const Status served = rng_process(q, memory(), counted);
    counters.in_ops.fetch_add(static_cast<u16>(q.used_idx - before), relaxed);
    return served;
  });
}

std::optional<LiveQueue> Machine::live_queue(u32 function, u16 queue) {
  return look(state_->functions[function].device,
              [&](const VirtioPciState& s) { return virtio_live_queue(s, queue); });
}

Machine::Driver Machine::driver_of(u32 function) {
  return look(state_->functions[function].device, [](const VirtioPciState& s) {
    return Driver{s.driver_features, s.generation};
  });
}

// The driver most often has MSI-X enabled and the vector unmasked: then nothing of the registers
// changes. The caller has the queue's lock, so that a death in here is told to the queue's next
// owner.
VcpuSet Machine::raise_queue_interrupt(u32 function, u16 queue) {
  VirtioFunction& f = state_->functions[function];
  {
    const CellGuard guard(f.device, *this);
    const VirtioPciState& s = f.device.published();
    const auto message = msix_message(s.msix, s.queues[queue].vector);
    if (message && !guard.result().from_dead()) {
      f.counters.interrupts.fetch_add(1, std::memory_order_relaxed);
      return post_msi(*message);
    }
  }
  return step_function(function, [&](VirtioPciState& s, Effects& effects) {
    virtio_raise_queue_interrupt(s, queue, effects);
  });
}

bool Machine::serve_queue(u32 function, u16 queue, bool again, const Process& process,
                          const bool* put_off) {
  if (function >= kMaxFunctions || queue >= kMaxVirtioQueues) return false;
  DeviceCell<QueueState>& cell = state_->functions[function].queues[queue];
  VcpuSet changed = 0;
  {
    const fabric::LockGuard guard(cell.lock, self_, *instances_);
    const auto live = live_queue(function, queue);
    if (!live) return false;
    const bool repeat = again || guard.result().from_dead();
    Status good = publish_step(cell, [&](QueueState& q) -> Status {
      virtio_adopt(q, *live);
      if (repeat) DVM_TRY(queue_republish_used(q, memory()));
      return process(q, *live);
    });
    fabric::failpoint("device.queue_served");
    bool wanted = repeat;
    if (cell.published().used_idx != cell.published().published_used) {
      publish_step(cell, [&](QueueState& q) {
        if (put_off != nullptr && *put_off) {
          if (auto shown = queue_republish_used(q, memory()); !shown.ok()) good = shown;
          return;
        }
        const auto flushed = queue_flush_used(q, memory());
        wanted |= flushed.ok() && *flushed;
        if (!flushed.ok()) good = flushed.error();
      });
    }
    if (wanted) changed |= raise_queue_interrupt(function, queue);
    if (!good.ok()) changed |= fail_function(function);
  }
  kick_all(changed, std::nullopt);
  return true;
}

void Machine::interrupt_since(u32 function, u16 queue, u16 told) {
  DeviceCell<QueueState>& cell = state_->functions[function].queues[queue];
  VcpuSet changed = 0;
  {
    const fabric::LockGuard guard(cell.lock, self_, *instances_);
    if (!live_queue(function, queue)) return;
    const auto wanted = queue_wants_interrupt(cell.published(), memory(), told);
    if (!wanted.ok()) {
      changed = fail_function(function);
    } else if (*wanted || guard.result().from_dead()) {
      changed = raise_queue_interrupt(function, queue);
    }
  }
  kick_all(changed, std::nullopt);
}

void Machine::settle_transmits() {
  for (u16 pair = 0; pair < kMaxNetPairs; ++pair) {
    auto& owed = state_->net.owed[pair];
    if (owed.load(std::memory_order_relaxed) == 0) continue;
    const u32 debt = owed.exchange(0, std::memory_order_acq_rel);
    const auto function =
        std::ranges::find(config().functions, FunctionKind::net, &FunctionConfig::kind);
    if (debt == 0 || function == config().functions.end()) continue;
    interrupt_since(static_cast<u32>(function - config().functions.begin()), net_tx_queue(pair),
                    static_cast<u16>(debt));
  }
}

void Machine::finish_chains(u32 function, u16 queue, u32 generation,
                            std::span<const FinishedChain> done) {
  const auto give_back = [&](QueueState& q, const LiveQueue&) -> Status {
    if (q.generation != generation) return {};  // of before a machine's reset
    for (const FinishedChain& chain : done) {
      if (q.holder[chain.head % kMaxQueueSize] == 0) continue;
      queue_unhold(q, chain.head);
      DVM_TRY(queue_push_used(q, memory(), chain.head, chain.bytes_written));
    }
    return {};
  };
  if (serve_queue(function, queue, false, give_back)) return;
  DeviceCell<QueueState>& cell = state_->functions[function].queues[queue];
  {  // The driver wants none of it any more.
    const fabric::LockGuard guard(cell.lock, self_, *instances_);
    publish_step(cell, [&](QueueState& q) {
      if (q.generation != generation) return;
      for (const FinishedChain& chain : done) queue_unhold(q, chain.head);
    });
  }
  end_reset(function);
}

// --- resets and deaths ---------------------------------------------------------------------------

// The caller has all queues.
bool Machine::in_flight(u32 function) const {
  return std::ranges::any_of(state_->functions[function].queues,
                             [](const auto& queue) { return queue.published().in_flight != 0; });
}

// A reset that the driver asked for waits for what is in flight, and may be over now.
void Machine::end_reset(u32 function) {
  write_function(function, [](VirtioPciState&, Effects&) { return BarWriteResult{}; });
}

// To power-on, with everything of before void. Nothing is in flight: the nodes have seen to it.
void Machine::reset_function(u32 function) {
  const FunctionConfig& config = state_->config.functions[function];
  if (config.kind == FunctionKind::none) return;
  VcpuSet changed = 0;
  {
    const AllQueues held(state_->functions[function], self_, *instances_);
    changed = step_function(function, [&](VirtioPciState& s, Effects&) {
      const u32 generation = s.generation + 1;
      s = make_function(config, state_->functions[function].capacity.load());
      s.generation = generation;
      // Else by the firmware.
      if (!has_firmware()) virtio_assign_bars(s, layout::kPciMmioBase + function * kVirtioBarBytes);
    });
  }
  kick_all(changed, std::nullopt);
}

void Machine::mend_function(u32 function) {
  if (state_->config.functions[function].kind == FunctionKind::none) return;
  kick_all(step_function(function, [](VirtioPciState&, Effects&) {}), std::nullopt);
  for (u16 queue = 0; queue < kMaxVirtioQueues; ++queue) serve_notified(function, queue, true);
  end_reset(function);
}

}  // namespace dvm::vmm
