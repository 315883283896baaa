// RAM of a guest that was put back from a checkpoint, page by page, as somebody touches it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "hyperkernel/page_origin.h"
#include "vmm/checkpoint/file.h"

namespace dvm::vmm::checkpoint {

// The files that the record names, by their descriptors in the process that opened them, which
// keeps them.
Result<File> open_files(const hyperkernel::OriginRecord& record);
// So that others find them.
Status name_files(hyperkernel::OriginRecord& record, const File& file);
// Fetches for this process from here on, until the returned one is destroyed.
Result<std::unique_ptr<hyperkernel::PageOrigin>> watch_origin(
    const hyperkernel::OriginPages& pages, const hyperkernel::GuestMemory& view,
    std::function<void(const Error&)> failed);

}  // namespace dvm::vmm::checkpoint
