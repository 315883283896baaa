#include "tools/checkpoint_disks.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/json_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

// For each disk: two paths of the longest, and numbers.
constexpr std::size_t kBytesForDisk = 12288;

Result<json> file_json(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return sys_error("stat " + path);
  return json{{"path", path},
              {"bytes", static_cast<i64>(st.st_size)},
              {"written_s", static_cast<i64>(st.st_mtim.tv_sec)},
              {"written_ns", static_cast<i64>(st.st_mtim.tv_nsec)}};
}

Status check_file(const json& was, const std::string& path) {
  DVM_ASSIGN(const json now, file_json(path));
  for (const auto* what : {"bytes", "written_s", "written_ns"}) {
    if (!was.contains(what) || was[what] != now[what])
      return error("disk {} has been written since, and is not what its guest knows", path);
  }
  return {};
}

struct Copied {
  std::string path;
  u64 bytes;
};

// Of what has been checked by check_disks.
std::optional<Copied> copy_in(const json& disk) {
  if (!disk.is_object() || !disk.contains("copy")) return std::nullopt;
  const json& copy = disk["copy"];
  if (!copy.is_object() || !copy.contains("path") || !copy["path"].is_string() ||
      !copy.contains("bytes") || !copy["bytes"].is_number_unsigned())
    return std::nullopt;
  return Copied{copy["path"].get<std::string>(), copy["bytes"].get<u64>()};
}

// Nobody but us and our children finds it, and we will not be there.
bool is_nameless(const std::string& path) { return path.starts_with("/proc/"); }

Result<GuestDisks::Overlay> make_overlay_of(const Copied& copied, u32 n,
                                            const RunSettings& settings) {
  const srt::DiskSpec& disk = settings.disks[n].spec;
  if (settings.overlays && is_nameless(copied.path))
    return error("--overlays: the copy of disk {} has no name; allowed: after fork --disks DIR",
                 disk.path);
  DVM_ASSIGN(Fd base, Fd::open(copied.path, O_RDONLY));
  auto file = MadeFile::make(settings.overlays, fmt::format("{}-disk{}.qcow2", settings.name, n),
                             disk.path);
  if (!file)
    return error("disk {}: {}; allowed: --overlays DIR, a folder for what the guest writes",
                 disk.path, file.error().message);
  srt::DiskSpec spec = disk;
  spec.path = file->path();
  spec.format = "qcow2";
  // What stays needs a base that stays, by its name.
  DVM_TRY(make_overlay(spec.path, settings.overlays ? copied.path : path_of_descriptor(base.get()),
                       copied.bytes));
  return GuestDisks::Overlay{std::move(base), file.take(), std::move(spec)};
}

// Whoever resumes the guest finds its disks where they are now.
void tell_launch(RunSettings& settings, const std::map<u32, GuestDisks::Overlay>& overlays) {
  json disks = json::array();
  for (u32 n = 0; n < settings.disks.size(); ++n) {
    DiskOption disk = settings.disks[n];
    if (const auto it = overlays.find(n); it != overlays.end()) disk.spec = it->second.spec;
    disks.push_back(disk_option_json(disk));
  }
  json launch = parse_json(settings.launch);
  launch["disks"] = std::move(disks);
  settings.launch = to_line(launch);
}

}  // namespace

Result<std::string> describe_disks(const GuestDisks* disks, const std::vector<DiskCopy>& copies) {
  json all = json::array();
  const u32 count = disks == nullptr ? 0 : disks->count();
  for (u32 n = 0; n < count; ++n) {
    DVM_ASSIGN(json one, file_json(disks->file(n)));
    const auto copy = std::ranges::find(copies, n, &DiskCopy::disk);
    if (copy != copies.end()) {
      DVM_ASSIGN(one["copy"], file_json(copy->file));
    }
    all.push_back(std::move(one));
  }
  std::string text = to_line(all);
  if (text.size() > kBytesForDisk * (count + 1)) return error("the disks' paths are too long");
  text.resize(kBytesForDisk * (count + 1), ' ');
  return text;
}

Status check_disks(const std::string& described, const std::vector<DiskOption>& disks) {
  const json was = parse_json(described);
  if (!was.is_array() || was.size() != disks.size()) return error("its disks are other ones now");
  for (std::size_t n = 0; n < disks.size(); ++n) {
    if (disks[n].spec.read_only) continue;
    if (!was[n].is_object()) return error("its disks cannot be read");
    const bool has_copy = was[n].contains("copy");
    const auto copied = copy_in(was[n]);
    if (has_copy && !copied) return error("its disks cannot be read");
    DVM_TRY(has_copy ? check_file(was[n]["copy"], copied->path)
                     : check_file(was[n], disks[n].spec.path));
  }
  return {};
}

Result<std::map<u32, GuestDisks::Overlay>> make_overlays(const std::string& described,
                                                         RunSettings& settings) {
  const json was = parse_json(described);
  std::map<u32, GuestDisks::Overlay> overlays;
  for (u32 n = 0; n < settings.disks.size(); ++n) {
    const auto copied = settings.disks[n].spec.read_only ? std::nullopt : copy_in(was[n]);
    if (!copied) continue;
    DVM_ASSIGN(auto overlay, make_overlay_of(*copied, n, settings));
    overlays.emplace(n, std::move(overlay));
  }
  if (settings.overlays) {
    if (overlays.empty()) return error("--overlays: none of its disks has been copied");
    tell_launch(settings, overlays);
  } else if (!overlays.empty() && !settings.pool.empty()) {
    return error(
        "--pool: what the guest writes to its disks would be gone with its processes; allowed: "
        "with --overlays DIR");
  }
  return overlays;
}

Result<std::vector<DiskCopy>> copies_of(const json& request, const GuestDisks* disks) {
  std::vector<DiskCopy> copies;
  const auto found = request.find("disks");
  if (found == request.end()) return copies;
  const auto wrong = [] {
    return error("disks: allowed: [{{\"disk\": N, \"file\": an absolute path}}, ...], once each");
  };
  if (!found->is_array()) return wrong();
  const u32 count = disks == nullptr ? 0 : disks->count();
  for (const json& one : *found) {
    if (!one.is_object() || one.size() != 2 || !one.contains("disk") || !one.contains("file") ||
        !one["disk"].is_number_unsigned() || !one["file"].is_string())
      return wrong();
    const u64 n = one["disk"].get<u64>();
    const auto& file = one["file"].get_ref<const std::string&>();
    if (n >= count) return error("disks: found disk {}; the guest has {}", n, count);
    if (!file.starts_with('/') || file.find('\0') != file.npos ||
        std::ranges::find(copies, n, &DiskCopy::disk) != copies.end())
      return wrong();
    if (disks->is_read_only(static_cast<u32>(n)))
      return error("disks: disk {} is never written", n);
    copies.push_back({static_cast<u32>(n), file});
  }
  return copies;
}

}  // namespace dvm::tools
