// Rent or buy: a vCPU moves once what it has paid for being where it is exceeds what the move, and
// fetching its own pages after it, will cost. So it never pays much more than twice what the best
// choice in hindsight would have cost, whatever the guest does.
//
// A fault tells more than that a page was elsewhere. A page that comes for the first time lay
// there: going to it helps. One that goes to and fro ties two vCPUs together: either may go to the
// other. And the time from a page's being taken away to its being wanted again tells how often it
// is used, as sampling would: which is what sharing it costs.
#pragma once

#include <optional>

#include "hyperkernel/locality/page_history.h"
#include "hyperkernel/locality/policy.h"
#include "hyperkernel/locality/vcpu_ties.h"

namespace dvm::locality {

class LearnedPolicy : public Policy {
 public:
  // After a move a vCPU stays so long; four times as long each time that it comes back to where it
  // just was, up to the most: that bounds ping-pong.
  static constexpr u64 kLeastStayNs = 20'000'000;
  static constexpr u64 kMostStayNs = 10'000'000'000;
  // A move has to gain so much more than it costs.
  static constexpr double kMargin = 1.25;
  // Who has fetched n pages from a node will fetch so many times n more, as long as it does not
  // fetch them more slowly than before: working sets are of all sizes, and fetching few of a large
  // one from the wrong place is cheap.
  static constexpr double kMoreToCome = 4;

  // Of pages that a vCPU fetched long ago, as long as nobody has looked.
  static constexpr double kLikelyInUse = 0.5;

  explicit LearnedPolicy(std::size_t remembered_pages = 1u << 18) : pages_(remembered_pages) {}
  void observe(const Observation& seen) override;
  bool share_now(const Observation& fault, double spent_ns, const CostModel& costs) override;
  void decide(u64 now_ns, const Placement& placement, const CostModel& costs,
              std::vector<Decision>& wanted) override;
  void refused(const Decision& decision) override;
  void wish_samples(std::vector<SampleWish>& wishes) override;

 private:
  struct Vcpu {
    VcpuTies ties;
    u64 stays_until_ns = 0;
    u64 stay_ns = kLeastStayNs;
    u64 moved_ns = 0;
    u8 came_from = 0xff;
    // Of its own pages that were looked at, how many it still uses.
    double in_use = kLikelyInUse;
    u32 asked = 0, touched = 0;
    u64 asked_ns = 0;
    bool wants_samples = false;
  };
  struct Offer {
    double gain_ns = 0;
    double price_ns = 0;
    u8 to = 0;
    Because because = Because::pages_there;
    double surplus() const { return gain_ns - kMargin * price_ns; }
  };

  Vcpu& vcpu(u16 index);
  void see_hand_over(const Observation& seen, PageHistory& history, bool returns);
  bool is_lately(u64 then_ns, u64 now_ns) const;
  bool lives_on(u16 v, u8 node) const;
  void see_fault(const Observation& seen);
  void see_sample(const Observation& seen);
  void forget(PageHistory& history);
  void decay(u64 now_ns);
  void close_samples(u64 now_ns);
  double still_to_fetch_ns(u16 v, u8 node) const;
  double drawn_ns(u16 v, u8 node) const;
  double beyond_chance(double ns) const;
  double tied_to(u16 v, u8 node) const;
  double price_ns(u16 v, const CostModel& costs) const;
  Offer offer(u16 v, u8 to, const CostModel& costs) const;
  Offer lonely_offer(u16 v, u8 to, const CostModel& costs) const;
  bool free_to_move(u16 v, u64 now_ns) const;
  void fill_arrived(u64 now_ns, const CostModel& costs, std::vector<Decision>& wanted);
  void weigh(u16 v, u64 now_ns, const CostModel& costs, std::vector<Decision>& wanted);
  std::optional<u16> keenest(u8 from, u8 to, u64 now_ns, const CostModel& costs) const;
  bool make_way(u16 v, const Offer& best, u64 now_ns, const CostModel& costs,
                std::vector<Decision>& wanted);
  bool exchange(u16 v, const Offer& best, u64 now_ns, const CostModel& costs,
                std::vector<Decision>& wanted);
  Decision decision(u16 v, const Offer& offer, u64 now_ns) const;
  void note_move(u16 v, u8 to, u64 now_ns);

  PageHistories pages_;
  std::vector<Vcpu> vcpus_;
  Placement placement_;  // as of the last step, with what was wanted since
  std::array<u32, kMaxNodes> load_{};
  CostModel costs_;  // likewise
  u64 last_step_ns_ = 0;
  u64 step_ns_ = 100'000'000;  // between steps, lately
  std::size_t probe_ = 0;
  double may_look_ns_ = 0;  // what samples may cost by now
};

}  // namespace dvm::locality
