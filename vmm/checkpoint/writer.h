// Writes a checkpoint: pages in their order, then what they are, then the header, last.
#pragma once

#include <functional>

#include "vmm/checkpoint/image.h"

namespace dvm::vmm::checkpoint {

// Where the file's bytes go: `at` is their offset in it.
using Put = std::function<Status(std::span<const std::byte> bytes, u64 at)>;

struct Source {
  u64 pages = 0;
  // Content of whole pages, valid until the next call; at most kPartPages.
  std::function<Result<std::span<const std::byte>>(u64 first, u64 count)> read;
  // How far it is, after each part: an error ends it.
  std::function<Status(u64 pages)> go_on;
  // Of what `read` gave last: whether a page is known to be zeros, whatever its content says.
  std::function<bool(u64 page)> is_zero = {};
};
inline constexpr u64 kPartPages = 2 * kBlockPages;

struct Written {
  Header header;
  u64 pages = 0;     // that the file has of its own
  u64 stood_ns = 0;  // how long the guest stood still: by the caller
};

// `base`: only what differs from it is written; its path is among `sections` then.
Result<Written> write(const Put& put, std::vector<SectionBytes> sections, const Source& source,
                      File* base = nullptr);
// What one of its sections holds has come to be known since. Precondition: as long as it was.
Status rewrite_section(const Put& put, Header& header, SectionKind kind,
                       std::span<const std::byte> bytes);

}  // namespace dvm::vmm::checkpoint
