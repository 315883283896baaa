#include "srt/block_sum.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#define XXH_INLINE_ALL  // a call each costs less than the inlining gains, but so no library is
                        // needed
#include <xxhash.h>
#pragma GCC diagnostic pop

namespace dvm::srt {

BlockSum block_sum(const std::byte* block) {
  const XXH128_hash_t sum = XXH3_128bits(block, kBlockBytes);
  return {sum.low64, sum.high64};
}

}  // namespace dvm::srt
