// Carries out the coherence protocol's acts on this host: the node that wants a page does all the
// work itself, on the directory, on its own memory and on that of the others, whose threads are
// not woken.
#pragma once

#include <memory>
#include <vector>

#include "hyperkernel/coherence.h"
#include "hyperkernel/coherence_record.h"
#include "hyperkernel/peers.h"

namespace dvm::hyperkernel {

// Runs of pages that are moved as one.
inline constexpr u64 kMaxRun = 512;

struct PagerPlaces {
  const fabric::Pool* pool = nullptr;
  PageDirectory* directory = nullptr;
  const Coherence* coherence = nullptr;
  const NodeMemory* memory = nullptr;
  Peers* peers = nullptr;
  u32 self = 0;
};

// Threads: any. Never touches the view, takes no lock of a device, and waits for nothing while it
// holds an entry: so a thread that faults in the middle of a device step is always served.
class PageMover {
 public:
  static Result<PageMover> make(const PagerPlaces& places);

  // As wanted: surely the page asked for, which is one of the run, and those of the others that are
  // to be had without waiting. `run` lies in one shard, at most kMaxRun pages. False: the page was
  // not to be had (no frame to share it in). Error: the directory is damaged, or memory is used up.
  Result<bool> move(PageRun run, u64 asked_for, Want want, u32 subject);
  Result<bool> move(PageRun run, u64 asked_for, Want want) {
    return move(run, asked_for, want, places_.self);
  }
  Result<bool> move(PageRun run, Want want) { return move(run, run.first, want, places_.self); }
  // What is mapped from the pool here or in another node is not written to from its return on
  // without a fault. Advice unless their movers are this node.
  Status guard(PageRun run);

 private:
  struct Item {
    u64 page;
    Transition transition;
    Act act;
    bool from_elsewhere = false;  // another's content was brought home by us
  };
  using Items = std::vector<Item>;

  DirEntry look(u64 page) const;
  void settle(Item& item, bool may_wait);
  Answer await(u64 page, u32 mover);
  static bool is_bulk(ActKind kind);
  u64 run_length(const Items& items, std::size_t first) const;
  Status carry_out(Items& items, std::size_t first, u64 count);
  Status write_back(PageRun run, u32 node, u64 frame);
  Status discard(PageRun run, u32 node);
  Status install(const Item& first, PageRun run, bool writable);
  bool never_written(u64 frame, u64 count) const;
  Status fill(PageRun run, u32 from, u64 home, u64 to);
  void fill_from_home(u64 home, u64 to, u64 count, bool fresh);
  void populate(u64 to, u64 count);
  bool is_zero(u64 number) const;
  Result<u64> empty(u64 page, u64 number);
  Status drop_frames(u64 number, u64 count);
  Status drop_strays(u64 page, u64 named);
  void put(std::span<const std::byte> content, u64 to);
  std::byte* frame(u64 number) const { return frames_->data() + number * kPageBytes; }
  PageCounters& counters() const { return places_.coherence->node(places_.self).counters; }

  PagerPlaces places_;
  std::shared_ptr<Mapping> frames_;
  u64 frames_offset_ = 0;
  u64 frame_count_ = 0;
};

}  // namespace dvm::hyperkernel
