#include "vmm/checkpoint/file.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "hyperkernel/page_sum.h"

namespace dvm::vmm::checkpoint {

bool is_checkpoint(const std::string& path) {
  const auto fd = Fd::open(path, O_RDONLY | O_NONBLOCK);
  std::array<char, kMagic.size()> magic{};
  return fd.ok() && fd->pread_all(std::as_writable_bytes(std::span(magic)), 0, path).ok() &&
         magic == kMagic;
}

Result<File::Layer> File::open_layer(Fd fd, const std::string& name) {
  Layer layer{std::move(fd), name, {}, {}};
  DVM_ASSIGN(const u64 bytes, layer.fd.size());
  if (bytes < kHeaderBytes) return error("{}: not a checkpoint", name);
  DVM_TRY(layer.fd.pread_all(std::as_writable_bytes(std::span(&layer.header, 1)), 0, name));
  DVM_TRY(check_header(layer.header, bytes, name));
  layer.blocks.resize(blocks_for(layer.header.pages));
  return layer;
}

Status File::add_base(Layer layer) {
  const Header& upper = layers_.back().header;
  if (layer.header.id != upper.base || layer.header.pages != upper.pages)
    return error("{}: not what {} was taken on", layer.name, layers_.back().name);
  layers_.push_back(std::move(layer));
  return {};
}

Result<File> File::open(const std::string& path) {
  File file;
  auto fd = Fd::open(path, O_RDONLY | O_NONBLOCK);
  if (!fd) return usage_error("{}", fd.error().message);
  DVM_ASSIGN(Layer top, open_layer(fd.take(), path));
  file.layers_.push_back(std::move(top));
  while (file.layers_.back().header.base != FileId{}) {
    const Layer& upper = file.layers_.back();
    if (file.layers_.size() > kMaxBases)
      return error("{}: stands on more than {} others", path, kMaxBases);
    DVM_ASSIGN(const auto bytes, file.section(upper, SectionKind::base));
    const std::filesystem::path told(
        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    const auto beside = std::filesystem::path(upper.name).parent_path() / told.filename();
    auto base = Fd::open(told.string(), O_RDONLY | O_NONBLOCK);
    const bool there = base.ok();
    if (!there) base = Fd::open(beside.string(), O_RDONLY | O_NONBLOCK);
    if (!base) return error("{}: its base {} is not there", upper.name, told.string());
    DVM_ASSIGN(Layer layer, open_layer(base.take(), there ? told.string() : beside.string()));
    DVM_TRY(file.add_base(std::move(layer)));
  }
  return file;
}

Result<File> File::adopt(std::vector<Fd> files, const std::string& name) {
  File file;
  for (Fd& fd : files) {
    DVM_ASSIGN(Layer layer, open_layer(std::move(fd), name));
    if (file.layers_.empty()) {
      file.layers_.push_back(std::move(layer));
    } else {
      DVM_TRY(file.add_base(std::move(layer)));
    }
  }
  if (file.layers_.empty() || file.layers_.back().header.base != FileId{})
    return error("{}: its base is not there", name);
  return file;
}

bool File::has(SectionKind kind) const {
  const Header& h = header();
  return std::ranges::any_of(std::span(h.sections).first(h.section_count),
                             [&](const Section& s) { return s.kind == kind; });
}

Result<std::vector<std::byte>> File::section(const Layer& layer, SectionKind kind) const {
  for (const Section& s : std::span(layer.header.sections).first(layer.header.section_count)) {
    if (s.kind != kind) continue;
    std::vector<std::byte> bytes(s.bytes);
    DVM_TRY(layer.fd.pread_all(bytes, s.offset, layer.name));
    if (section_checksum(layer.header.id, bytes) != s.checksum)
      return error("{}: damaged: section {} has a wrong checksum", layer.name, section_name(kind));
    return bytes;
  }
  return error("{}: has no section {}", layer.name, section_name(kind));
}

Result<std::vector<std::byte>> File::section(SectionKind kind) const {
  return section(layers_.front(), kind);
}

Result<std::string> File::text(SectionKind kind) const {
  DVM_ASSIGN(const auto bytes, section(kind));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<const PageBlock*> File::block(Layer& layer, u64 index) {
  auto& kept = layer.blocks[index];
  if (!kept) {
    auto read = std::make_unique<PageBlock>();
    DVM_TRY(layer.fd.pread_all(std::as_writable_bytes(std::span(read.get(), 1)),
                               layer.header.table_at + index * kPageBytes, layer.name));
    DVM_TRY(check_block(layer.header.id, *read, index * kBlockPages, layer.name));
    kept = std::move(read);
  }
  return kept.get();
}

Result<u64> File::sum(u64 page) {
  DVM_ASSIGN(const PageBlock* const found, block(layers_.front(), page / kBlockPages));
  return found->sums[page % kBlockPages];
}

// Runs of pages that one file has side by side are read at once.
Status File::read(u64 first, std::span<std::byte> to) {
  const u64 count = to.size() / kPageBytes;
  const auto layer_of = [&](u64 page) -> Result<Layer*> {
    for (Layer& layer : layers_) {
      DVM_ASSIGN(const PageBlock* const b, block(layer, page / kBlockPages));
      if (b->is_here(page % kBlockPages)) return &layer;
    }
    return error("{}: damaged: no file has page {}", name(), page);
  };
  for (u64 done = 0; done < count;) {
    DVM_ASSIGN(const u64 wanted, sum(first + done));
    std::byte* const at = to.data() + done * kPageBytes;
    if (wanted == 0) {
      std::memset(at, 0, kPageBytes);
      ++done;
      continue;
    }
    DVM_ASSIGN(Layer* const layer, layer_of(first + done));
    u64 run = 1;
    for (; done + run < count; ++run) {
      DVM_ASSIGN(const u64 next, sum(first + done + run));
      if (next == 0) break;
      DVM_ASSIGN(const Layer* const other, layer_of(first + done + run));
      if (other != layer) break;
    }
    DVM_TRY(layer->fd.pread_all(to.subspan(done * kPageBytes, run * kPageBytes),
                                layer->header.pages_at + (first + done) * kPageBytes, layer->name));
    for (const u64 end = done + run; done < end; ++done) {
      DVM_ASSIGN(const u64 sum_wanted, sum(first + done));
      if (hyperkernel::page_sum(to.data() + done * kPageBytes) != sum_wanted)
        return error("{}: damaged: page {} is not what it was", layer->name, first + done);
    }
  }
  return {};
}

}  // namespace dvm::vmm::checkpoint
