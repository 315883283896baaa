// A range of this process's address space, unmapped when its owner goes.
#pragma once

#include <span>
#include <string>

#include "fabric/fd.h"

namespace dvm {

class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { reset(); }
  Mapping(Mapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      base_ = std::exchange(other.base_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // MAP_SHARED, readable and writable.
  static Result<Mapping> shared(const Fd& fd, u64 offset, u64 bytes, const std::string& name);
  // Address space without memory behind it, at a multiple of `alignment` (a power of two).
  static Result<Mapping> reserve(u64 bytes, u64 alignment);
  // Maps part of a file into a reserved range, MAP_SHARED.
  Status map_at(u64 at, const Fd& fd, u64 offset, u64 bytes, const std::string& name) const;

  std::byte* data() const { return base_; }
  u64 size() const { return bytes_; }
  std::span<std::byte> bytes() const { return {base_, bytes_}; }
  void reset();

 private:
  Mapping(std::byte* base, u64 bytes) : base_(base), bytes_(bytes) {}
  std::byte* base_ = nullptr;
  u64 bytes_ = 0;
};

}  // namespace dvm
