// What vCPUs do to memory, as a simulator needs it: one access after another of each vCPU.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "hyperkernel/locality/trace_format.h"

namespace dvm::bench {

struct MemoryAccess {
  u32 page = 0;
  bool write = false;
  u32 lines = 16;      // that it touches in the page
  u32 think_ns = 0;    // before it
  bool waits = false;  // first for all vCPUs to come here
};

// Threads: one at a time.
class MemoryWorkload {
 public:
  virtual ~MemoryWorkload() = default;
  // The vCPU's next access; nothing: it is done.
  virtual std::optional<MemoryAccess> next(u32 vcpu) = 0;
  // The node that has the page at the start; locality::kAtHome: nobody.
  virtual u8 first_owner(u32) const { return locality::kAtHome; }

  u32 nodes = 1;
  u32 pages = 0;
  std::vector<u8> placement;  // of each vCPU, at the start
};

struct WorkloadShape {
  u32 nodes = 2;
  u32 vcpus = 2;
  u32 seed = 1;
  u32 length_percent = 100;  // of the usual number of accesses
};

// The named workloads, in the order in which they are shown.
const std::vector<std::string>& workload_names();
// Precondition: `name` is one of them; 2 <= nodes <= vcpus.
std::unique_ptr<MemoryWorkload> make_workload(const std::string& name, const WorkloadShape& shape);
// What was seen, again: each vCPU does what it did, as long after its last as then.
std::unique_ptr<MemoryWorkload> replay(const locality::Trace& trace);

}  // namespace dvm::bench
