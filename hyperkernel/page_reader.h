// Reads RAM of a guest with software coherence from a process that is no member of the protocol,
// for a dump: no page changes hands for it.
#pragma once

#include "hyperkernel/page_mover.h"

namespace dvm::hyperkernel {

// Threads: one at a time.
class PageReader {
 public:
  // The pool and the table outlive it.
  static Result<std::unique_ptr<PageReader>> open(const fabric::Pool& pool,
                                                  const fabric::InstanceTable& instances);

  // The run's content, page after page; of a page that is written meanwhile, a mixture. `to` has
  // that many bytes. Error: a damaged directory, or an owner's memory that cannot be reached.
  Status read(PageRun run, std::span<std::byte> to);

 private:
  PageReader(Coherence coherence, const fabric::InstanceTable& instances)
      : coherence_(std::move(coherence)), peers_(coherence_, instances, kMaxNodes) {}
  Status read_page(u64 page, std::byte* to);
  Status read_once(u64 page, const DirEntry& entry, std::byte* to);

  Coherence coherence_;
  Peers peers_;
  std::optional<PageDirectory> directory_;
  Mapping frames_;
};

}  // namespace dvm::hyperkernel
