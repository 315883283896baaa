// The guest's disks on their way from the options to the nodes: opened, checked and locked by the
// launcher, which holds them for the guest's life.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "srt/disk.h"
#include "srt/nbd_server.h"
#include "tools/disk_copy.h"
#include "tools/disk_option.h"
#include "vmm/node_disk.h"

namespace dvm::tools {

class GuestDisks {
 public:
  static constexpr u32 kMax = 8;
  // A disk's copy, and what is written on top of it; both have to stay as long as the guest runs.
  struct Overlay {
    Fd base;
    MadeFile file;
    srt::DiskSpec spec;  // as qemu-nbd serves it
  };
  static Result<GuestDisks> open(const std::vector<DiskOption>& options,
                                 std::map<u32, Overlay> overlays = {});
  // For those that a server serves; its sockets are made in `folder`.
  Status start_servers(const std::string& folder);

  bool any_server() const;
  // Ends them, when all that they have in hand is done, and starts them anew.
  Status restart_servers();
  u32 count() const { return static_cast<u32>(disks_.size()); }
  // What the n-th disk is to the machine, with `queues` request queues, and its size in bytes.
  vmm::FunctionConfig function(u32 n, u32 queues) const;
  // The guest goes on, and knows the n-th disk as `known`: it stays that, if it can. Error: it can
  // not.
  Status stay(u32 n, const vmm::FunctionConfig& known);
  const std::string& path(u32 n) const { return disks_[n].option.spec.path; }
  // What its content is in: the overlay, if it has one.
  const std::string& file(u32 n) const { return disks_[n].spec().path; }
  u64 bytes(u32 n) const { return disks_[n].geometry.bytes; }
  // Which disk is meant: its number in the order of the options, its path as it was given, or its
  // serial.
  Result<u32> find(std::string_view word) const;
  // Grows the file to `bytes`, or without a size looks how large it is now. Returns its size.
  Result<u64> grow(u32 n, std::optional<u64> bytes) const;
  // The words that name them to dvm-node, and the descriptors that go with them. The first disk is
  // function `first_function`.
  std::vector<std::string> node_arguments(u32 first_function) const;
  std::vector<int> node_descriptors() const;

  bool is_read_only(u32 n) const { return disks_[n].option.spec.read_only; }
  // What it has written is gone when it ends.
  bool passes(u32 n) const { return disks_[n].overlay && !disks_[n].overlay->file.has_name(); }
  // The overlays that have a name stay.
  void keep_overlays();
  // The files are written for the last time, once the nodes have ended.
  Status flush() const;
  // All that the n-th disk holds now, into the file `to`; as copy_disk. The guest stands still.
  Status copy(u32 n, const std::string& to, const std::function<Status()>& go_on) const;
  // [{"path": …, "format": …, "readonly": …, "serial": …, "bytes": …, "overlay": …}, …]
  nlohmann::json to_json() const;

 private:
  struct Entry {
    const srt::DiskSpec& spec() const { return overlay ? overlay->spec : option.spec; }

    DiskOption option;
    srt::DiskGeometry geometry;
    std::optional<srt::Disk> file;
    std::optional<srt::NbdServer> server;
    std::string socket;  // the server's, also while it is started anew
    std::optional<Overlay> overlay;
    std::optional<vmm::FunctionConfig> known;
  };
  std::vector<Entry> disks_;
};

// In dvm-node: one of those words, with the descriptor it names now owned.
Result<vmm::DiskSource> disk_source_of(const std::string& word);

}  // namespace dvm::tools
