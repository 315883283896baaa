// Every named point in the code (failpoint.h): what a fault can wait for. tests/unit/points_test.sh
// compares the list with the sources.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "fabric/fault.h"

namespace dvm::fabric {

inline constexpr auto kPointNames = std::to_array<std::string_view>({
    "allocator.blocks_done",
    "allocator.claim_logged",
    "allocator.claimed",
    "allocator.lane_replayed",
    "allocator.lanes_done",
    "allocator.publish_exchanged",
    "allocator.publish_logged",
    "allocator.publish_settled",
    "allocator.replay",
    "allocator.replayed",
    "allocator.retire_exchanged",
    "allocator.retire_logged",
    "allocator.retire_settled",
    "allocator.sweep",
    "device.counted",
    "device.ioapic_posted",
    "device.line_driven",
    "device.msis_posted",
    "device.pit_taken",
    "device.published",
    "device.queue_served",
    "device.stepped",
    "disk.answered",
    "disk.completed",
    "disk.submitted",
    "disk.taken",
    "event_log.written",
    "exit.begun",
    "exit.done",
    "fault.claimed",
    "fault.done",
    "fault.pinned",
    "fault.told",
    "group.applied",
    "group.armed",
    "group.change",
    "group.counted",
    "group.done",
    "group.logged",
    "group.stated",
    "group.written",
    "lines.staged",
    "manager.announced",
    "manager.fenced",
    "manager.powered_off",
    "manager.retired",
    "manager.suspected",
    "manager.suspects",
    "manager.told_all",
    "manager.told_group",
    "mapreduce.advanced",
    "mapreduce.chunk_named",
    "mapreduce.claimed",
    "mapreduce.committed",
    "mapreduce.computed",
    "mapreduce.released",
    "mapreduce.seen_done",
    "move.committed",
    "move.prepared",
    "move.ready",
    "move.saved",
    "net.commanded",
    "net.notified",
    "node.serves",
    "node.starts_vcpus",
    "pages.act",
    "pages.swap",
    "peer.joined",
    "peer.leaving",
    "peer.registered",
    "pool_lock.found_dead",
    "pool_lock.taken_over",
    "queue_lock.adopted",
    "queue_lock.entered",
    "queue_lock.found_dead",
    "queue_lock.named_dead",
    "queue_lock.passed_on",
    "recovery.claimed",
    "recovery.salvaged",
    "recovery.step",
    "recovery.stepped",
    "recovery.told",
    "standby.suspects",
    "standby.takes",
    "standby.took",
    "vcpu.exited",
    "vcpu.given_up",
    "vcpu.injected",
    "vcpu.injecting",
    "vcpu.left",
});
static_assert(std::ranges::is_sorted(kPointNames));
static_assert(std::ranges::all_of(kPointNames,
                                  [](auto name) { return name.size() < kPointNameBytes; }));

constexpr bool is_point(std::string_view name) {
  return std::ranges::binary_search(kPointNames, name);
}

}  // namespace dvm::fabric
