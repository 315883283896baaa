#include "tools/disk_launch.h"
#include "tools/json_text.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dvm::tools {

using nlohmann::json;

Result<GuestDisks> GuestDisks::open(const std::vector<DiskOption>& options,
                                    std::map<u32, Overlay> overlays) {
  GuestDisks disks;
  for (const DiskOption& option : options) {
    Entry entry{.option = option};
    if (auto overlay = overlays.extract(disks.count())) {
      entry.overlay.emplace(std::move(overlay.mapped()));
    } else if (option.spec.format == "raw") {
      DVM_ASSIGN(entry.file, srt::Disk::open(option.spec));
      entry.geometry = entry.file->geometry();
    }
    disks.disks_.push_back(std::move(entry));
  }
  return disks;
}

Status GuestDisks::start_servers(const std::string& folder) {
  for (u32 n = 0; n < count(); ++n) {
    Entry& disk = disks_[n];
    if (disk.file) continue;
    disk.socket = fmt::format("{}/disk{}.nbd", folder, n);
    auto server = srt::NbdServer::start(disk.spec(), disk.socket);
    if (!server.ok()) return server.error();
    disk.server.emplace(server.take());
    disk.geometry = disk.server->geometry();
  }
  return {};
}

bool GuestDisks::any_server() const {
  return std::ranges::any_of(disks_, [](const Entry& disk) { return disk.server.has_value(); });
}

Status GuestDisks::restart_servers() {
  for (Entry& disk : disks_) {
    if (!disk.server) continue;
    disk.server.reset();
    auto again = srt::NbdServer::start(disk.spec(), disk.socket);
    if (!again.ok()) return again.error();
    disk.server.emplace(again.take());
    const srt::DiskGeometry& now = disk.server->geometry();
    if (now.bytes != disk.geometry.bytes)
      return error("disk {}: {} bytes became {}", disk.option.spec.path, disk.geometry.bytes,
                   now.bytes);
  }
  return {};
}

vmm::FunctionConfig GuestDisks::function(u32 n, u32 queues) const {
  const Entry& disk = disks_[n];
  if (disk.known) return *disk.known;
  vmm::FunctionConfig config;
  config.kind = vmm::FunctionKind::block;
  config.queues = queues;
  config.flags = (disk.option.spec.read_only ? vmm::kBlockReadOnly : 0) |
                 (disk.geometry.discard ? vmm::kBlockDiscard : 0) |
                 (disk.geometry.write_zeroes ? vmm::kBlockWriteZeroes : 0);
  config.block_bytes = disk.geometry.block_bytes;
  config.physical_bytes = disk.geometry.physical_bytes;
  config.serial = vmm::blk_id(disk.option.serial);
  return config;
}

Status GuestDisks::stay(u32 n, const vmm::FunctionConfig& known) {
  const vmm::FunctionConfig now = function(n, known.queues);
  constexpr u32 kMayBeMore = vmm::kBlockDiscard | vmm::kBlockWriteZeroes;
  const bool can = known.kind == now.kind && known.serial == now.serial &&
                   (known.flags & ~kMayBeMore) == (now.flags & ~kMayBeMore) &&
                   (known.flags & ~now.flags) == 0 && known.block_bytes % now.block_bytes == 0 &&
                   known.block_bytes != 0;
  if (!can) return error("disk {} is not what it was", path(n));
  disks_[n].known = known;
  return {};
}

void GuestDisks::keep_overlays() {
  for (Entry& disk : disks_) {
    if (disk.overlay) disk.overlay->file.keep();
  }
}

Status GuestDisks::flush() const {
  for (const Entry& disk : disks_) {
    if (disk.server) DVM_TRY(disk.server->flush());
  }
  return {};
}

Status GuestDisks::copy(u32 n, const std::string& to, const std::function<Status()>& go_on) const {
  const Entry& disk = disks_[n];
  u64 bytes = disk.geometry.bytes;
  if (disk.file) {
    DVM_ASSIGN(bytes, disk.file->read_size());
  }
  return copy_disk(
      disk.file ? path_of_descriptor(disk.file->fd().get()) : "nbd:unix:" + disk.socket, bytes, to,
      go_on);
}

json GuestDisks::to_json() const {
  json all = json::array();
  for (const Entry& disk : disks_) {
    all.push_back({{"path", std::filesystem::absolute(disk.option.spec.path).string()},
                   {"format", disk.option.spec.format},
                   {"readonly", disk.option.spec.read_only},
                   {"serial", disk.option.serial},
                   {"bytes", disk.geometry.bytes},
                   {"overlay", disk.overlay ? json(disk.overlay->spec.path) : json(nullptr)}});
  }
  return all;
}

Result<u32> GuestDisks::find(std::string_view word) const {
  for (u32 n = 0; n < count(); ++n) {
    const DiskOption& option = disks_[n].option;
    if (word == fmt::to_string(n) || word == option.spec.path ||
        (!option.serial.empty() && word == option.serial))
      return n;
  }
  if (count() == 0) return error("found '{}'; the guest has no disks", word);
  return error("found '{}'; allowed: 0 to {}, a disk's path or its serial", word, count() - 1);
}

Result<u64> GuestDisks::grow(u32 n, std::optional<u64> bytes) const {
  const Entry& disk = disks_[n];
  if (!disk.file)
    return error("disk {}: of format {}; allowed: raw disks", path(n), disk.spec().format);
  if (bytes) DVM_TRY(disk.file->grow(*bytes));
  return disk.file->read_size();
}

std::vector<std::string> GuestDisks::node_arguments(u32 first_function) const {
  std::vector<std::string> words;
  for (u32 n = 0; n < count(); ++n) {
    const Entry& disk = disks_[n];
    const srt::DiskSpec& spec = disk.spec();
    const srt::DiskGeometry& g = disk.geometry;
    const json word = {{"function", first_function + n},
                       {"path", spec.path},
                       {"format", spec.format},
                       {"readonly", spec.read_only},
                       {"fd", disk.file ? disk.file->fd().get() : -1},
                       {"socket", disk.socket},
                       {"bytes", g.bytes},
                       {"block", g.block_bytes},
                       {"physical", g.physical_bytes},
                       {"alignment", g.memory_alignment},
                       {"direct", g.direct},
                       {"discard", g.discard},
                       {"zeroes", g.write_zeroes}};
    words.insert(words.end(), {"--disk", to_line(word)});
  }
  return words;
}

std::vector<int> GuestDisks::node_descriptors() const {
  std::vector<int> descriptors;
  for (const Entry& disk : disks_) {
    if (disk.file) descriptors.push_back(disk.file->fd().get());
  }
  return descriptors;
}

Result<vmm::DiskSource> disk_source_of(const std::string& word) {
  const json said = parse_json(word);
  if (!said.is_object()) return usage_error("--disk: not what dvm-run hands over");
  vmm::DiskSource source;
  try {
    source.function = said.at("function");
    source.spec.path = said.at("path");
    source.spec.format = said.at("format");
    source.spec.read_only = said.at("readonly");
    source.nbd_socket = said.at("socket");
    source.geometry = {.bytes = said.at("bytes"),
                       .block_bytes = said.at("block"),
                       .physical_bytes = said.at("physical"),
                       .memory_alignment = said.at("alignment"),
                       .direct = said.at("direct"),
                       .discard = said.at("discard"),
                       .write_zeroes = said.at("zeroes")};
    if (source.nbd_socket.empty()) source.file = Fd(said.at("fd").get<int>());
  } catch (const json::exception& e) {
    return usage_error("--disk: {}", e.what());
  }
  source.spec.discard = source.geometry.discard;
  source.spec.cache = source.geometry.direct ? srt::DiskCache::direct : srt::DiskCache::buffered;
  if (source.function >= vmm::kMaxFunctions)
    return usage_error("--disk: function {} of {}", source.function, vmm::kMaxFunctions);
  return source;
}

}  // namespace dvm::tools
