// Writes a task's result into its place, and never past it: what does not fit is only counted, so
// that the task returns a length that says so.
#pragma once

#include <cstring>
#include <span>
#include <string_view>

#include "fabric/types.h"

namespace dvm::mapreduce {

class ResultWriter {
 public:
  explicit ResultWriter(std::span<std::byte> place) : place_(place) {}

  void append(std::span<const std::byte> bytes) {
    if (size_ + bytes.size() <= place_.size() && !bytes.empty())
      std::memcpy(place_.data() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  template <typename T>
  void value(const T& v) {
    append(std::as_bytes(std::span(&v, 1)));
  }
  template <typename T>
  void values(std::span<const T> v) {
    append(std::as_bytes(v));
  }
  // Bytes, with those that did not fit.
  u64 size() const { return size_; }

 private:
  const std::span<std::byte> place_;
  u64 size_ = 0;
};

}  // namespace dvm::mapreduce
