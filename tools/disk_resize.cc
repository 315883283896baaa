#include "tools/disk_resize.h"

#include <nlohmann/json.hpp>

#include "tools/guest_preparation.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

struct Wanted {
  std::string disk;
  std::optional<u64> bytes;  // none: as large as the file is
};

Result<Wanted> read_request(const json& request) {
  Wanted wanted;
  const auto disk = request.find("disk");
  if (disk == request.end() || !disk->is_string())
    return error("disk: allowed: a disk's number, path or serial, as a string");
  wanted.disk = disk->get<std::string>();
  if (const auto it = request.find("bytes"); it != request.end()) {
    if (!it->is_number_unsigned()) return error("bytes: allowed: a whole number");
    wanted.bytes = it->get<u64>();
    if (*wanted.bytes > u64{INT64_MAX})
      return error("found {} bytes; allowed: up to 2^63 - 1", *wanted.bytes);
  }
  const auto it = request.find("to_file");
  if (it != request.end() && !it->is_boolean()) return error("to_file: allowed: true or false");
  const bool to_file = it != request.end() && it->get<bool>();
  if (to_file == wanted.bytes.has_value()) return error("allowed: one of bytes and to_file");
  return wanted;
}

}  // namespace

Result<json> resize_disk(const json& request, vmm::Machine& machine, const GuestDisks* disks) {
  auto wanted = read_request(request);
  if (!wanted) return error("resize-disk: {}", wanted.error().message);
  if (disks == nullptr) return error("resize-disk: the guest's disks are not to be reached");
  const auto found = disks->find(wanted->disk);
  if (!found) return error("resize-disk: {}", found.error().message);
  const u32 n = *found;
  const u32 function = kFirstDiskFunction + n;
  const u64 before = machine.state().functions[function].capacity.load();
  // Not left to the file's size: it may have been grown or cut by others.
  if (wanted->bytes && *wanted->bytes < before) {
    return error(
        "resize-disk: disk {}: found {}; allowed: at least the {} it has, for a disk never shrinks",
        n, format_size(*wanted->bytes), format_size(before));
  }
  const auto after = disks->grow(n, wanted->bytes);
  if (!after) return error("resize-disk: {}", after.error().message);
  if (*after < before) {
    return error("resize-disk: disk {}: its file has {}; allowed: at least the {} the guest knows",
                 n, format_size(*after), format_size(before));
  }
  if (*after != before) {
    machine.grow_disk(function, *after);
    machine.log_event(fabric::EventKind::disk_resized, {n, *after});
  }
  return json{{"disk", n}, {"bytes", *after}, {"before", before}};
}

}  // namespace dvm::tools
