// The guest's disks on their way from the options to the nodes: opened, checked and locked by the
// launcher, which holds them for the guest's life.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "srt/disk.h"
#include "srt/nbd_server.h"
#include "tools/disk_option.h"
#include "vmm/node_disk.h"

namespace dvm::tools {

class GuestDisks {
 public:
  static constexpr u32 kMax = 8;
  static Result<GuestDisks> open(const std::vector<DiskOption>& options);
  // For those that a server serves; its sockets are made in `folder`.
  Status start_servers(const std::string& folder);

  bool any_server() const;
  // Ends them, when all that they have in hand is done, and starts them anew.
  Status restart_servers();
  u32 count() const { return static_cast<u32>(disks_.size()); }
  // What the n-th disk is to the machine, with `queues` request queues, and its size in bytes.
  vmm::FunctionConfig function(u32 n, u32 queues) const;
  const std::string& path(u32 n) const { return disks_[n].option.spec.path; }
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

 private:
  struct Entry {
    DiskOption option;
    srt::DiskGeometry geometry;
    std::optional<srt::Disk> file;
    std::optional<srt::NbdServer> server;
  };
  std::vector<Entry> disks_;
};

// In dvm-node: one of those words, with the descriptor it names now owned.
Result<vmm::DiskSource> disk_source_of(const std::string& word);

}  // namespace dvm::tools
