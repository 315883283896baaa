// A checkpoint that is read, with the bases it stands on. Whatever it is asked for is checked
// first; a file that is cut off or changed while it is open gives errors, never other content.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "vmm/checkpoint/format.h"

namespace dvm::vmm::checkpoint {

// Whether the file begins as one does.
bool is_checkpoint(const std::string& path);

// Threads: one at a time.
class File {
 public:
  // With its bases, which are looked for where they were, and beside it.
  static Result<File> open(const std::string& path);
  // By descriptors that another process opened so: the file, its base, and so on.
  static Result<File> adopt(std::vector<Fd> files, const std::string& name);

  const Header& header() const { return layers_.front().header; }
  const std::string& name() const { return layers_.front().name; }
  u64 pages() const { return header().pages; }
  std::size_t layers() const { return layers_.size(); }
  const Fd& fd(std::size_t layer) const { return layers_[layer].fd; }

  bool has(SectionKind kind) const;
  // Error: it is not there, or damaged.
  Result<std::vector<std::byte>> section(SectionKind kind) const;
  Result<std::string> text(SectionKind kind) const;

  // 0: a page of zero bytes. Precondition: page < pages().
  Result<u64> sum(u64 page);
  // The content of whole pages from `first` on. Precondition: there are so many.
  Status read(u64 first, std::span<std::byte> to);

 private:
  struct Layer {
    Fd fd;
    std::string name;
    Header header;
    std::vector<std::unique_ptr<PageBlock>> blocks;  // as they are needed
  };
  static Result<Layer> open_layer(Fd fd, const std::string& name);
  Status add_base(Layer layer);
  Result<const PageBlock*> block(Layer& layer, u64 index);
  Result<std::vector<std::byte>> section(const Layer& layer, SectionKind kind) const;

  std::vector<Layer> layers_;  // the file, its base, the base of that
};

}  // namespace dvm::vmm::checkpoint
