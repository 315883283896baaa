#include "tests/property/coherence_world.h"

#include <deque>
#include <unordered_set>

#include <fmt/format.h>

namespace dvm::hyperkernel {
namespace {

// ---- what is true in every state ------------------------------------------------------------

bool content_reachable(const Page& p) {
  const bool home = p.frame_current[p.entry.frame];
  if (p.entry.mode != PageMode::owned) return home;
  for (u32 n = 0; n < kWorldNodes; ++n) {
    if (p.entry.owned_by(n)) return p.copies[n].present ? p.copies[n].current : home;
  }
  return false;
}

bool readable(const World& w, const Page& p, u32 n) {
  return w.nodes[n].alive && w.nodes[n].run == Run::running && p.copies[n].present;
}

std::string page_violation(const World& w, const Page& p) {
  if (!p.entry.sound()) return "the entry is not sound";
  if (!content_reachable(p)) return "the entry does not lead to the content";
  for (u32 n = 0; n < kWorldNodes; ++n) {
    const Copy& c = p.copies[n];
    if (readable(w, p, n) && !c.current) return fmt::format("node {} reads what is old", n);
    if (w.nodes[n].alive && c.maps_frame && !p.frame_current[1])
      return fmt::format("node {} maps a frame that is old", n);
    if (w.nodes[n].alive && c.writes_frame && p.entry.mode != PageMode::shared)
      return fmt::format("node {} writes to a frame that is not shared", n);
    if (w.nodes[n].alive && c.maps_frame && p.entry.mode == PageMode::owned)
      return fmt::format("node {} maps a frame while the page is owned", n);
    if (!w.nodes[n].alive || !c.writable) continue;
    for (u32 other = 0; other < kWorldNodes; ++other) {
      if (other != n && readable(w, p, other))
        return fmt::format("node {} reads what node {} may write", other, n);
    }
  }
  return {};
}

// Nobody waits for ever: who moves a page is at work on it, or has stopped.
std::string mover_violation(const World& w, u32 page) {
  const u32 mover = w.pages[page].entry.mover;
  if (mover == 0 || !w.nodes[mover - 1].alive) return {};
  const auto& job = w.nodes[mover - 1].job;
  return job && job->page == page ? "" : "the entry is held by nobody";
}

// ---- acts -----------------------------------------------------------------------------------

void write_to(Page& p, u32 node) {
  for (Copy& c : p.copies) c.current = false;
  p.frame_current = {false, false};
  if (p.copies[node].writes_frame) {
    p.frame_current[1] = true;
  } else {
    p.copies[node].current = true;
  }
}

void discard(Page& p, u32 node) {
  p.copies[node].present = p.copies[node].writable = p.copies[node].current = false;
}

void drop_frame(Page& p) {
  for (Copy& c : p.copies) c.maps_frame = c.writes_frame = false;
  p.frame_current[1] = false;
}

void install(Page& p, u32 node, bool writable) {
  Copy& c = p.copies[node];
  c.maps_frame = c.writes_frame = false;  // our view holds one or the other
  if (!c.present) c.current = p.frame_current[p.entry.frame];
  c.present = true;
  if (writable) c.writable = true;
}

bool runs(const World& w, u32 node) {
  return w.nodes[node].alive && w.nodes[node].run != Run::quiet;
}

Answer carry_out(World& w, u32 self, const WorldRules& rules) {
  Job& job = *w.nodes[self].job;
  Page& p = w.pages[job.page];
  const Act& act = job.act;
  switch (act.kind) {
    case ActKind::look: return {.seen = p.entry};
    case ActKind::swap:
      if (p.entry != act.expected) return {.ok = false, .seen = p.entry};
      p.entry = act.desired;
      return {};
    case ActKind::await: return {.ok = !w.nodes[act.node].alive};
    case ActKind::protect:
      if (rules.mistake != Mistake::no_protect) p.copies[act.node].writable = false;
      return {};
    case ActKind::write_back:
      if (rules.mistake != Mistake::no_write_back && p.copies[act.node].present)
        p.frame_current[p.entry.frame] = p.copies[act.node].current;
      return {};
    case ActKind::mark:
      if (rules.mistake == Mistake::mark_after_look) {
        p.marked[act.node] = true;
        return {.ok = job.looked_quiet};
      }
      if (runs(w, act.node)) return {.ok = false};
      p.marked[act.node] = true;
      return {};
    case ActKind::discard:
      if (rules.mistake == Mistake::copies_beside_frame && p.entry.mode == PageMode::shared)
        return {};
      discard(p, act.node);
      return {};
    case ActKind::install_read: install(p, self, false); return {};
    case ActKind::install_write: install(p, self, true); return {};
    case ActKind::map_shared:
      p.copies[self].maps_frame = p.copies[self].writes_frame = true;
      return {};
    case ActKind::take_frame: return {.frame = 1};
    case ActKind::fill_frame: {
      const bool copy = act.node != kFromHome && p.copies[act.node].present;
      p.frame_current[1] = copy ? p.copies[act.node].current : p.frame_current[p.entry.frame];
      return {};
    }
    case ActKind::guard_frame:
      if (rules.mistake == Mistake::no_guard) return {};
      for (Copy& c : p.copies) c.writes_frame = false;
      return {};
    case ActKind::empty_frame:
      if (rules.mistake != Mistake::home_before_content) p.frame_current[0] = p.frame_current[1];
      if (rules.mistake == Mistake::drop_first) drop_frame(p);
      return {.frame = 0};
    case ActKind::drop_frame:
      if (rules.mistake == Mistake::home_before_content) p.frame_current[0] = p.frame_current[1];
      if (rules.mistake != Mistake::no_drop) drop_frame(p);
      return {};
    case ActKind::drop_strays:
      if (p.entry.frame != 1 && rules.mistake != Mistake::strays_left) drop_frame(p);
      return {};
    case ActKind::done: break;
  }
  return {};
}

bool is_swap_of(const Act& act, bool let_go) {
  return act.kind == ActKind::swap && (act.desired.mover == 0) == let_go;
}

// Mistakes in the order of acts: the act that comes next is done later, or not at all.
void misplace(World& w, u32 self, const WorldRules& rules) {
  Job& job = *w.nodes[self].job;
  Page& p = w.pages[job.page];
  if (rules.mistake == Mistake::no_claim && is_swap_of(job.act, false) &&
      p.entry.mover == self + 1) {
    install(p, self, true);  // before the claim
  }
  if (rules.mistake == Mistake::claim_first && job.act.kind == ActKind::discard &&
      job.transition.want() == Want::write && p.entry.mover == self + 1) {
    install(p, self, true);  // before the discard
  }
  if (rules.mistake == Mistake::early_release && job.act.kind == ActKind::install_read) {
    p.entry.mover = 0;
    p.entry.mode = PageMode::replicated;
    p.entry.nodes = static_cast<NodeSet>(p.entry.nodes | only(self));
  }
  if (rules.mistake == Mistake::frame_before_content && job.act.kind == ActKind::fill_frame) {
    p.entry.mode = PageMode::shared;
    p.entry.frame = 1;
  }
  if (rules.mistake == Mistake::mark_after_look && job.act.kind == ActKind::mark)
    job.looked_quiet = !runs(w, job.act.node);
}

// Carries out the job's next act. Looking and the swap that rests on it are one step: a swap that
// fails only looks again. Waiting for the living is no step: the job might as well begin later.
bool advance(World& w, u32 self, const WorldRules& rules) {
  for (;;) {
    Job& job = *w.nodes[self].job;
    if (job.act.kind == ActKind::await && w.nodes[job.act.node].alive) return false;
    const bool visible = job.act.kind != ActKind::look && job.act.kind != ActKind::await;
    const Answer answer = carry_out(w, self, rules);
    job.act = job.transition.next(answer);
    misplace(w, self, rules);
    if (job.act.kind == ActKind::done) {
      w.nodes[self].job.reset();
      return true;
    }
    if (visible) return true;
  }
}

// ---- steps ----------------------------------------------------------------------------------

void begin_job(const World& w, u32 self, u8 page, Transition transition, const WorldRules& rules,
               const std::function<void(const World&)>& visit) {
  World next = w;
  next.nodes[self].job = Job{page, transition, {}, false};
  Job& job = *next.nodes[self].job;
  job.act = job.transition.next({});
  if (advance(next, self, rules)) visit(next);
}

void begin_jobs(const World& w, u32 self, const WorldRules& rules,
                const std::function<void(const World&)>& visit) {
  for (u8 page = 0; page < w.pages.size(); ++page) {
    const Copy& c = w.pages[page].copies[self];
    if (!c.present && !c.maps_frame)
      begin_job(w, self, page, Transition(Want::read, self), rules, visit);
    if (!c.writable && !c.writes_frame)
      begin_job(w, self, page, Transition(Want::write, self), rules, visit);
    if (c.present) begin_job(w, self, page, Transition(Want::evict, self), rules, visit);
    if (rules.share && page == 0) {
      begin_job(w, self, page, Transition(Want::share, self), rules, visit);
      begin_job(w, self, page, Transition(Want::unshare, self), rules, visit);
    }
    for (u32 dead = 0; dead < kWorldNodes; ++dead) {
      if (!w.nodes[dead].alive)
        begin_job(w, self, page, Transition(Want::evict, self, dead), rules, visit);
    }
  }
}

void change_run(const World& w, u32 self, const WorldRules& rules,
                const std::function<void(const World&)>& visit) {
  World next = w;
  WorldNode& node = next.nodes[self];
  switch (node.run) {
    case Run::running:
      if (node.job) return;
      node.run = Run::quiet;
      return visit(next);
    case Run::quiet: node.run = Run::waking; return visit(next);
    case Run::waking:
      for (Page& p : next.pages) {
        if (!p.marked[self]) continue;
        p.marked[self] = false;
        if (rules.mistake != Mistake::trust_quiet && !p.entry.owned_by(self)) discard(p, self);
        return visit(next);
      }
      node.run = Run::running;
      return visit(next);
  }
}

// A node that is back under its id: everything of its former life is recovered, its memory is new.
void rejoin(const World& w, u32 self, const std::function<void(const World&)>& visit) {
  World next = w;
  for (Page& p : next.pages) {
    if (p.entry.mover == self + 1 || (p.entry.nodes & only(self)) != 0) return;
    p.copies[self] = {};
    p.marked[self] = false;
  }
  next.nodes[self] = {};
  visit(next);
}

void node_steps(const World& w, u32 self, const WorldRules& rules,
                const std::function<void(const World&)>& visit) {
  const WorldNode& node = w.nodes[self];
  if (node.job) {
    World next = w;
    if (advance(next, self, rules)) visit(next);
  } else if (node.run == Run::running) {
    begin_jobs(w, self, rules, visit);
  }
  if (rules.quiet) change_run(w, self, rules, visit);
  if (node.run != Run::running) return;
  for (std::size_t page = 0; page < w.pages.size(); ++page) {
    const Copy& c = w.pages[page].copies[self];
    if (!c.writable && !c.writes_frame) continue;
    World next = w;
    write_to(next.pages[page], self);
    visit(next);
  }
}

// ---- states as numbers ----------------------------------------------------------------------

u64 mix(u64 hash, u64 value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdull;
  return hash ^ (hash >> 33);
}

u64 page_bits(const Page& p) {
  u64 bits = (p.frame_current[0] ? 1u : 0u) | (p.frame_current[1] ? 2u : 0u);
  for (u32 n = 0; n < kWorldNodes; ++n) {
    const Copy& c = p.copies[n];
    bits = bits << 6 | (c.present ? 1u : 0u) | (c.writable ? 2u : 0u) | (c.current ? 4u : 0u) |
           (c.maps_frame ? 8u : 0u) | (p.marked[n] ? 16u : 0u) | (c.writes_frame ? 32u : 0u);
  }
  return bits;
}

struct Fingerprint {
  u64 low, high;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};
struct FingerprintHash {
  std::size_t operator()(const Fingerprint& f) const { return f.low; }
};

Fingerprint fingerprint(const World& w) {
  Fingerprint f{1, 2};
  const auto add = [&f](u64 value) {
    f.low = mix(f.low, value);
    f.high = mix(f.high, value ^ 0x5851f42d4c957f2dull);
  };
  add(w.deaths);
  for (const Page& p : w.pages) {
    add(p.entry.packed());
    add(page_bits(p));
  }
  for (const WorldNode& n : w.nodes) {
    add((n.alive ? 1u : 0u) | static_cast<u64>(n.run) << 1 | (n.job ? 8u : 0u));
    if (!n.job) continue;
    const auto digest = n.job->transition.digest();
    add(digest[0]);
    add(digest[1]);
    add(static_cast<u64>(n.job->act.kind) | static_cast<u64>(n.job->act.node) << 8 |
        static_cast<u64>(n.job->page) << 16 | (n.job->looked_quiet ? 1ull << 24 : 0));
  }
  return f;
}

}  // namespace

std::string violation(const World& world) {
  for (u32 i = 0; i < world.pages.size(); ++i) {
    if (auto wrong = page_violation(world, world.pages[i]); !wrong.empty()) return wrong;
    if (auto wrong = mover_violation(world, i); !wrong.empty()) return wrong;
  }
  return {};
}

void for_each_step(const World& world, const WorldRules& rules,
                   const std::function<void(const World&)>& visit) {
  u32 living = 0;
  for (const WorldNode& n : world.nodes) living += n.alive ? 1 : 0;
  for (u32 n = 0; n < kWorldNodes; ++n) {
    if (!world.nodes[n].alive) {
      rejoin(world, n, visit);
      continue;
    }
    node_steps(world, n, rules, visit);
    if (living < 2 || world.deaths >= rules.deaths) continue;
    World next = world;
    next.nodes[n].alive = false;
    next.nodes[n].job.reset();
    ++next.deaths;
    visit(next);
  }
}

Exploration explore(const WorldRules& rules, u64 at_most) {
  Exploration result;
  std::unordered_set<Fingerprint, FingerprintHash> seen;
  std::deque<World> open;
  World start;
  start.pages.resize(rules.pages);
  open.push_back(start);
  seen.insert(fingerprint(start));
  while (!open.empty() && result.violation.empty() && seen.size() < at_most) {
    const World world = std::move(open.front());
    open.pop_front();
    for_each_step(world, rules, [&](const World& next) {
      if (!result.violation.empty() || !seen.insert(fingerprint(next)).second) return;
      result.violation = violation(next);
      open.push_back(next);
    });
  }
  result.states = seen.size();
  if (result.violation.empty() && !open.empty()) result.violation = "not explored to the end";
  return result;
}

}  // namespace dvm::hyperkernel
