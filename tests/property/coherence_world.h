// A small world in which the coherence protocol is explored to its end: nodes with copies of pages,
// transitions in the middle of their work, and death. What userfaultfd and files do in a real node
// is a bit here.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hyperkernel/coherence.h"

namespace dvm::hyperkernel {

inline constexpr u32 kWorldNodes = 3;

// Mistakes put in on purpose, which the exploration has to find.
enum class Mistake {
  none,
  no_claim,              // the copy becomes writable while the entry still names the former holders
  claim_first,           // the entry names the writer before the other copies are gone
  early_release,         // the entry is let go before the copy is there
  no_write_back,         // the owner's content is not brought home
  no_protect,            // the owner writes on while its copy is taken
  trust_quiet,           // a node begins to run without discarding what was marked
  mark_after_look,       // a node is taken for quiet before the mark is there
  copies_beside_frame,   // a page is shared while somebody still has a copy of before
  frame_before_content,  // the entry names the frame before the content is in it
  no_guard,              // nodes write to a frame while its page goes home
  home_before_content,   // the entry names the home before the content is in it
  drop_first,            // the frame is dropped before the entry names the home
  no_drop,               // who takes a page out of its frame leaves the others its mappings
  strays_left,           // a dead mover's frame is left mapped
};

enum class Run : u8 { quiet, waking, running };

struct Copy {
  bool present = false, writable = false, current = false;
  bool maps_frame = false, writes_frame = false;
  friend bool operator==(const Copy&, const Copy&) = default;
};

struct Page {
  DirEntry entry{.frame = 0, .mode = PageMode::replicated};
  std::array<bool, 2> frame_current = {true, false};  // home, and the frame in the coherent region
  std::array<Copy, kWorldNodes> copies;
  std::array<bool, kWorldNodes> marked{};
};

struct Job {
  u8 page;
  Transition transition;
  Act act;            // to be carried out next
  bool looked_quiet;  // of Mistake::mark_after_look
};

struct WorldNode {
  bool alive = true;
  Run run = Run::running;
  std::optional<Job> job;
};

struct World {
  std::vector<Page> pages;
  std::array<WorldNode, kWorldNodes> nodes;
  u8 deaths = 0;
};

struct WorldRules {
  u32 pages = 2;
  u32 deaths = 2;      // at most
  bool quiet = false;  // nodes may stop running anything, and begin again
  bool share = true;
  Mistake mistake = Mistake::none;
};

// What is wrong in this state; empty: nothing.
std::string violation(const World& world);
// Calls `visit` with each state that one step leads to.
void for_each_step(const World& world, const WorldRules& rules,
                   const std::function<void(const World&)>& visit);

struct Exploration {
  u64 states = 0;
  std::string violation;  // the first that was found
};
Exploration explore(const WorldRules& rules, u64 at_most);

}  // namespace dvm::hyperkernel
