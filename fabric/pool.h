// The memory pool: a file (memfd, tmpfs, hugetlbfs, DAX device) that holds all state of a guest
// machine and outlives every node. Each process maps the metadata; guest frames are mapped by the
// hyperkernel. The pool holds offsets only, never pointers.
#pragma once

#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "fabric/mapping.h"
#include "fabric/pool_layout.h"
#include "fabric/pool_record.h"

namespace dvm::fabric {

struct PoolSpec {
  std::string path;  // empty: an anonymous memfd, gone with its last user
  std::string name;  // for messages, and the memfd's name
  std::vector<RegionSpec> metadata;
  u64 frames_bytes = 0;
  u64 spare_bytes = 0;  // of these, which are holes when as many others are not
};

// Whether a pool at that path (empty: anonymous memory) can give frames back to its file, one by
// one: no DAX device can, nor can hugetlbfs.
bool takes_holes(const std::string& path);

// Threads: any, once made. Locking of the file: an exclusive flock is held by every descriptor that
// comes from the creator's (inherited or passed on), so a pool is in use as long as any process of
// its guest lives.
class Pool {
 public:
  Pool() = default;  // holds nothing
  // Makes a pool and formats it: all metadata zero, then the header last, so that a pool whose
  // maker died half-way is refused. An existing file is reused only if it is empty, a device, or a
  // valid pool that nobody uses.
  static Result<Pool> create(const PoolSpec& spec);
  // Opens one that `create` made and that no process uses any more, and makes it this one's. Those
  // that are being killed just now are waited for, for `patience_ms` at most.
  static Result<Pool> reopen(const std::string& path, u64 patience_ms);
  // Maps a pool by a descriptor that `create` made (inherited from the process that did).
  static Result<Pool> attach(Fd fd, std::string name);

  const PoolHeader& header() const { return header_; }
  const Fd& fd() const { return fd_; }
  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }
  bool created_file() const { return created_file_; }
  // `unlink` removes the file of one that was opened again, too.
  void own_file() { created_file_ = !path_.empty(); }
  // Removes the file, if `create` made it. The mapping stays.
  void unlink();

  // The metadata from the pool's first byte: offsets in the pool are indices in it.
  std::span<std::byte> metadata() const { return metadata_.bytes(); }
  // The bytes of a metadata region, whose seal is looked at; the error names what the pool lacks.
  Result<std::span<std::byte>> region(RegionKind kind, u32 version) const;
  Result<RegionHeader> region_header(RegionKind kind, u32 version) const;
  bool has_region(RegionKind kind) const;
  // The region as one record, which the pool's maker is about to fill in. The pool was zeroed at
  // creation; T must be valid as zero bytes or be constructed in place (std::construct_at).
  template <typename T>
  Result<T*> new_record(RegionKind kind, u32 version) const {
    DVM_ASSIGN(auto bytes, region(kind, version));
    if (bytes.size() < sizeof(T)) {
      return error("pool {}: region {} has {} bytes, expected {}", name_, region_name(kind),
                   bytes.size(), sizeof(T));
    }
    return std::launder(reinterpret_cast<T*>(bytes.data()));
  }
  // The region as one record: the one door to it for whoever comes later. What `check_record` of T
  // (pool_record.h) finds wrong is an error that names the field and its offset.
  template <typename T>
  Result<T*> record(RegionKind kind, u32 version) const {
    DVM_ASSIGN(T * found, new_record<T>(kind, version));
    if constexpr (CheckedRecord<T>) {
      DVM_ASSIGN(const RegionHeader where, region_header(kind, version));
      DVM_TRY(check_record(*found, RecordPlace{name_, region_name(kind), where.offset, found}));
    }
    return found;
  }

 private:
  Status map_metadata();
  void seal_regions();
  Status check_seal_of(const RegionHeader& region) const;

  Fd fd_;
  std::string name_;
  std::string path_;
  bool created_file_ = false;
  PoolHeader header_{};  // our copy: the one in the pool is only compared
  Mapping metadata_;
};

}  // namespace dvm::fabric
