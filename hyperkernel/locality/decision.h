// What a policy wants done, and why, in numbers that a sentence can be made of.
#pragma once

#include <string>
#include <type_traits>

#include "hyperkernel/locality/observation.h"

namespace dvm::locality {

enum class Act : u8 {
  move_vcpu,      // `vcpu` from node `from` to node `to`
  swap_vcpus,     // `vcpu` (on `from`) and `other` (on `to`) change places
  share_page,     // `page` into the coherent region
  keep_page,      // `page` is left with whoever takes it: copies, or hand-overs
  evacuate_node,  // `from`: vCPUs and pages go elsewhere
};
inline constexpr u32 kActs = 5;

enum class Because : u8 {
  pages_there,   // the vCPU fetches its pages from there
  talks_there,   // vCPUs there write what it reads or writes
  majority,      // most of its faults were for pages there
  ping_pong,     // the page goes to and fro
  mostly_read,   // its copies are worth more than what their loss costs
  node_failing,  // readings of the node's health
  node_came,     // the node came while the guest ran, and has none
};
inline constexpr u32 kBecauses = 7;

struct Decision {
  u64 time_ns = 0;
  u64 gain_ns = 0;   // what has been paid for lack of it, lately
  u64 price_ns = 0;  // what it is expected to cost
  u32 page = 0;
  u32 count = 0;  // of faults, pages or readings that speak for it
  u16 vcpu = kNoVcpu;
  u16 other = kNoVcpu;
  u8 from = 0;
  u8 to = 0;
  Act act = Act::move_vcpu;
  Because because = Because::pages_there;
  u32 detail = 0;  // node_failing: the reading's kind
  u64 value = 0;   // node_failing: the reading
};
static_assert(sizeof(Decision) == 56 && std::is_trivially_copyable_v<Decision>);

// Whether each field is in its range: what is read from the pool may be damaged.
bool is_sound(const Decision& decision);
std::string_view act_name(Act act);
std::string_view because_name(Because because);
// One sentence, without its full stop.
std::string sentence(const Decision& decision);

}  // namespace dvm::locality
