// A disk as a user asks for it.
#pragma once

#include <optional>
#include <string>

namespace dvm::srt {

// direct: O_DIRECT, the host's page cache is passed by. buffered: through it.
enum class DiskCache { direct, buffered };

struct DiskSpec {
  std::string path;
  // Never guessed from the content, which the guest writes: a guest that writes a qcow2 header into
  // its raw disk must not become able to name files of the host. Anything but "raw" is qemu-nbd's.
  std::string format = "raw";
  bool read_only = false;
  // Not said: direct where the file allows it in blocks of 512 bytes, else buffered.
  std::optional<DiskCache> cache;
  bool discard = true;  // the guest may give blocks back to the host
};

}  // namespace dvm::srt
