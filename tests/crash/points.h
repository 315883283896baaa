// The named points in fabric/ that a worker reaches. tests/crash/points_test.sh compares the list
// with the sources.
#pragma once

#include <array>
#include <string_view>

namespace dvm::crash {

inline constexpr auto kPoints = std::to_array<std::string_view>({
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
    "group.applied",
    "group.armed",
    "group.change",
    "group.counted",
    "group.done",
    "group.logged",
    "group.stated",
    "group.written",
    "manager.announced",
    "manager.fenced",
    "manager.powered_off",
    "manager.retired",
    "manager.suspected",
    "manager.suspects",
    "manager.told_all",
    "manager.told_group",
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
});

}  // namespace dvm::crash
