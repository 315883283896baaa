// What is looked at when a region of the pool is opened as a record: every field that something
// else is found by, counted by or told apart by. A record whose fields are out of range is refused,
// by the name and the offset of the field.
#pragma once

#include <concepts>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::fabric {

// Where a record lies, for messages.
struct RecordPlace {
  std::string_view pool;
  std::string_view region;
  u64 offset;  // of the record in the pool, bytes
  const void* first;

  // "pool P: instances at offset 0x1040: slot 1: state 9"; `field` is within the record.
  template <typename... Args>
  Error wrong(const void* field, fmt::format_string<Args...> format, Args&&... args) const {
    const u64 at = offset + static_cast<u64>(static_cast<const std::byte*>(field) -
                                             static_cast<const std::byte*>(first));
    return error("pool {}: {} at offset {:#x}: {}", pool, region, at,
                 fmt::format(format, std::forward<Args>(args)...));
  }
};

// T has `Status check_record(const T&, const RecordPlace&)` beside its declaration. It looks at one
// field at a time, since others may be changing the record; what changes stays in range.
template <typename T>
concept CheckedRecord = requires(const T& record, const RecordPlace& place) {
  { check_record(record, place) } -> std::same_as<Status>;
};

}  // namespace dvm::fabric
