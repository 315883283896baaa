// RAM of a machine that nobody runs: whether it is what the guest goes on in, and how it becomes
// it. Private to machine_resume.cc.
#pragma once

#include "fabric/pool.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {

struct ResumeRecords {
  MachineState* machine = nullptr;
  EpochRecord* epoch = nullptr;  // with epochs
  ResumeRecord* resume = nullptr;
};

// As it is, if the power failed; else as it is once the images of pages written in the epoch are
// put back. Changes nothing.
Status check_memory(const fabric::Pool& pool, const ResumeRecords& records, ResumePoint point);

// As the epoch that runs began; returns how many pages that took.
Result<u64> put_memory_back(const fabric::Pool& pool, const ResumeRecords& records);

// Sums of RAM as it is, for check_memory of a save.
Status sum_memory(const fabric::Pool& pool, const ResumeRecords& records);

}  // namespace dvm::vmm
