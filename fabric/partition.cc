#include "fabric/partition.h"

namespace dvm::fabric {
namespace {

constinit std::atomic<u32> uncut{0};

}  // namespace

namespace detail {

constinit std::atomic<const std::atomic<u32>*> cut_word{&uncut};
constinit std::atomic<u32> own_partition_bit{1};

}  // namespace detail

void watch_partition(const std::atomic<u32>* cut, u32 self) {
  detail::own_partition_bit.store(partition_bit(self));
  detail::cut_word.store(cut != nullptr ? cut : &uncut);
}

}  // namespace dvm::fabric
