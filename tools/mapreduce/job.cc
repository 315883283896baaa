#include "tools/mapreduce/job.h"

#include <fcntl.h>

#include <cstring>

namespace dvm::mapreduce {

using namespace fabric;  // NOLINT: the ground that this stands on

namespace {

// Long enough for a worker that waits for its turn on a machine with far more work than processors;
// a dead one is told of by the kernel, not by its silence.
constexpr u32 kDeadlineMs = 30'000;

constexpr RegionSpec kFabricRegions[] = {
    {RegionKind::instances, kInstancesVersion, sizeof(InstanceTable)},
    {RegionKind::membership, kMembershipVersion, sizeof(FabricState)},
    {RegionKind::events, kEventsVersion, sizeof(EventLog)},
    {RegionKind::faults, kFaultsVersion, sizeof(FaultBoard)}};

}  // namespace

Result<std::unique_ptr<Job>> Job::make(const App& app, u64 seed) {
  std::unique_ptr<Job> job(new Job(app));
  DVM_ASSIGN(job->layout_, lay_out(app));
  std::vector<RegionSpec> regions(std::begin(kFabricRegions), std::end(kFabricRegions));
  regions.push_back({RegionKind::work, kWorkVersion, job->layout_.work_bytes});
  DVM_ASSIGN(job->pool_, Pool::create({.path = "",
                                       .name = std::string(app.name()),
                                       .metadata = regions,
                                       .frames_bytes = job->layout_.data_bytes}));
  DVM_TRY(job->map());
  DVM_TRY(job->reset());
  app.make_input(job->data_.bytes().first(job->layout_.input_bytes), seed);
  return job;
}

Status Job::map() {
  DVM_ASSIGN(instances_, pool_.record<InstanceTable>(RegionKind::instances, kInstancesVersion));
  DVM_ASSIGN(fabric_, pool_.record<FabricState>(RegionKind::membership, kMembershipVersion));
  DVM_ASSIGN(log_, pool_.record<EventLog>(RegionKind::events, kEventsVersion));
  DVM_ASSIGN(auto* const board, pool_.record<FaultBoard>(RegionKind::faults, kFaultsVersion));
  faults_ = &board->points;
  DVM_ASSIGN(work_, pool_.region(RegionKind::work, kWorkVersion));
  DVM_ASSIGN(record_, pool_.record<JobRecord>(RegionKind::work, kWorkVersion));
  DVM_ASSIGN(const RegionHeader frames, pool_.region_header(RegionKind::frames, 1));
  data_offset_ = frames.offset;
  DVM_ASSIGN(data_, Mapping::shared(pool_.fd(), frames.offset, frames.bytes, pool_.name()));
  return {};
}

Status Job::reset() {
  std::memset(work_.data(), 0, work_.size());
  for (const RegionSpec& spec : kFabricRegions) {
    DVM_ASSIGN(const auto bytes, pool_.region(spec.kind, spec.version));
    std::memset(bytes.data(), 0, bytes.size());
  }
  fabric_->deadline_ms.store(kDeadlineMs);
  // The results' memory goes: what a task does not write is not there, and every run has the same
  // page faults.
  const u64 bytes = layout_.data_bytes - layout_.results_at;
  if (bytes != 0 && ::fallocate(pool_.fd().get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(data_offset_ + layout_.results_at),
                                static_cast<off_t>(bytes)) < 0)
    return sys_error("fallocate " + pool_.name());
  return {};
}

void Job::open() {
  record_->started_ns.store(monotonic_ns());
  record_->phase.store(JobRecord::kClosed + 1, std::memory_order_release);
  ring(record_->moved);
}

}  // namespace dvm::mapreduce
