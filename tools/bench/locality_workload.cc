#include "tools/bench/locality_workload.h"

#include <algorithm>

namespace dvm::bench {
namespace {

using locality::Observation;

// SplitMix64: the same on every host.
u64 draw(u64& state) {
  u64 z = (state += 0x9e37'79b9'7f4a'7c15u);
  z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9u;
  z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebu;
  return z ^ (z >> 31);
}

class Generated : public MemoryWorkload {
 public:
  Generated(const WorkloadShape& shape, u32 accesses)
      : accesses_(std::max(1u, accesses / 100 * shape.length_percent)),
        vcpus_(shape.vcpus),
        done_(shape.vcpus) {
    nodes = shape.nodes;
    for (u32 v = 0; v < vcpus_; ++v) {
      placement.push_back(static_cast<u8>(v * nodes / vcpus_));
      random_.push_back(shape.seed * 0x1'0000'0001ull + v * 0x9e37u);
    }
  }
  std::optional<MemoryAccess> next(u32 vcpu) final {
    if (done_[vcpu] == accesses_) return std::nullopt;
    return access(vcpu, done_[vcpu]++);
  }

 protected:
  virtual MemoryAccess access(u32 vcpu, u32 number) = 0;
  u32 below(u32 vcpu, u32 end) { return static_cast<u32>(draw(random_[vcpu]) % end); }
  bool chance(u32 vcpu, u32 per_mille) { return below(vcpu, 1000) < per_mille; }
  // vCPUs v and v + half are on different nodes.
  u32 half() const { return vcpus_ / 2; }
  // Of memory of a vCPU's own: 64 MiB, less where there are very many.
  u32 set_pages() const { return std::clamp((1u << 20) / vcpus_, 1024u, 16'384u); }
  u32 pair_of(u32 vcpu) const { return vcpu % std::max(1u, half()); }

  const u32 accesses_, vcpus_;

 private:
  std::vector<u32> done_;
  std::vector<u64> random_;
};

// Two vCPUs, apart at the start, read and write one buffer.
class TwoSharing : public Generated {
 public:
  explicit TwoSharing(const WorkloadShape& shape) : Generated(shape, 200'000) {
    pages = std::max(1u, half()) * kPages;
  }

 private:
  static constexpr u32 kPages = 512;
  MemoryAccess access(u32 v, u32) override {
    return {pair_of(v) * kPages + below(v, kPages), chance(v, 500), 16, 2'000};
  }
};

// Each vCPU has memory of its own, which another node's vCPU has filled.
class PrivateElsewhere : public Generated {
 public:
  explicit PrivateElsewhere(const WorkloadShape& shape) : Generated(shape, 200'000) {
    pages = vcpus_ * kPages;
  }
  u8 first_owner(u32 page) const override { return placement[(page / kPages + half()) % vcpus_]; }

 private:
  const u32 kPages = set_pages();
  MemoryAccess access(u32 v, u32) override {
    return {v * kPages + below(v, kPages), chance(v, 300), 16, 2'000};
  }
};

// All read one table; now and then somebody writes to it.
class ReadMostly : public Generated {
 public:
  explicit ReadMostly(const WorkloadShape& shape) : Generated(shape, 300'000) { pages = kPages; }

 private:
  static constexpr u32 kPages = 1024;
  MemoryAccess access(u32 v, u32) override { return {below(v, kPages), chance(v, 1), 16, 1'000}; }
};

// Each vCPU works on memory of its own, but each phase on that which another node's had before.
class MovingPhases : public Generated {
 public:
  explicit MovingPhases(const WorkloadShape& shape) : Generated(shape, 400'000) {
    pages = vcpus_ * kPages;
  }

 private:
  static constexpr u32 kPhases = 4;
  const u32 kPages = set_pages();
  MemoryAccess access(u32 v, u32 number) override {
    const u32 length = std::max(1u, accesses_ / kPhases);
    const u32 phase = number / length;
    const u32 set = (v + phase * std::max(1u, vcpus_ / nodes)) % vcpus_;
    return {set * kPages + below(v, kPages), chance(v, 300), 16, 2'000, number % length == 0};
  }
};

// One vCPU fills a ring of pages, another reads it.
class ProducerConsumer : public Generated {
 public:
  explicit ProducerConsumer(const WorkloadShape& shape) : Generated(shape, 200'000) {
    pages = std::max(1u, half()) * kPages;
  }

 private:
  static constexpr u32 kPages = 256;
  MemoryAccess access(u32 v, u32 number) override {
    const bool produces = v < half();
    const u32 at = (number + (produces ? kPages / 2 : 0)) % kPages;
    return {pair_of(v) * kPages + at, produces, 64, 2'000};
  }
};

class Replay : public MemoryWorkload {
 public:
  explicit Replay(const locality::Trace& trace) {
    nodes = trace.nodes;
    pages = static_cast<u32>(trace.pages);
    placement = trace.placement;
    accesses_.resize(placement.size());
    at_.resize(placement.size());
    std::vector<u64> before(placement.size());
    for (const Observation& o : trace.seen) add(trace, o, before);
  }
  std::optional<MemoryAccess> next(u32 vcpu) override {
    if (at_[vcpu] == accesses_[vcpu].size()) return std::nullopt;
    return accesses_[vcpu][at_[vcpu]++];
  }

 private:
  // What no vCPU is known of was done for the first that was on the node.
  void add(const locality::Trace& trace, const Observation& o, std::vector<u64>& before) {
    if (!locality::is_fault(o)) return;
    u32 v = o.vcpu;
    if (v >= placement.size()) {
      const auto found = std::find(trace.placement.begin(), trace.placement.end(), o.node);
      if (found == trace.placement.end()) return;
      v = static_cast<u32>(found - trace.placement.begin());
    }
    const u64 since = o.time_ns - std::min(o.time_ns, before[v] + o.took_ns);
    before[v] = o.time_ns;
    accesses_[v].push_back({o.page, o.kind == locality::SeenKind::write, 16,
                            static_cast<u32>(std::min<u64>(since, UINT32_MAX))});
  }

  std::vector<std::vector<MemoryAccess>> accesses_;
  std::vector<std::size_t> at_;
};

template <typename T>
std::unique_ptr<MemoryWorkload> make(const WorkloadShape& shape) {
  return std::make_unique<T>(shape);
}

using Maker = std::unique_ptr<MemoryWorkload> (*)(const WorkloadShape&);
constexpr std::array<Maker, 5> kMakers = {make<TwoSharing>, make<PrivateElsewhere>,
                                          make<ReadMostly>, make<MovingPhases>,
                                          make<ProducerConsumer>};

}  // namespace

const std::vector<std::string>& workload_names() {
  static const std::vector<std::string> names = {"two-sharing", "private-elsewhere", "read-mostly",
                                                 "moving-phases", "producer-consumer"};
  return names;
}

std::unique_ptr<MemoryWorkload> make_workload(const std::string& name, const WorkloadShape& shape) {
  const auto& names = workload_names();
  const auto at = std::find(names.begin(), names.end(), name);
  return kMakers[static_cast<std::size_t>(at - names.begin())](shape);
}

std::unique_ptr<MemoryWorkload> replay(const locality::Trace& trace) {
  return std::make_unique<Replay>(trace);
}

}  // namespace dvm::bench
