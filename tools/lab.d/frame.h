// What host.cc (outside) and agent.cc (in the lab host) say to each other over one virtio-serial
// port: frames of a kind and some bytes, in order. One ordered stream for everything, so that the
// exit code can only arrive after all output.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace dvm::lab {

enum class Kind : std::uint8_t {
  kReady,       // agent: up, waiting for a job
  kJob,         // host: what to run, see Job
  kStarted,     // agent: the command runs
  kInput,       // host: bytes for the command's stdin (or terminal)
  kInputEnd,    // host: end of stdin
  kOutput,      // agent: bytes of stdout (or terminal)
  kError,       // agent: bytes of stderr
  kOutputGone,  // host: nobody reads stdout any more
  kErrorGone,   // host: nobody reads stderr any more
  kAlive,       // either: nothing to say, but alive
  kExit,        // agent: the command ended; the code as a shell would give it, one byte
};

constexpr std::size_t kHeader = 5, kChunk = 0x4000;

inline std::string make_frame(Kind kind, std::string_view bytes = {}) {
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::string frame(kHeader, static_cast<char>(kind));
  std::memcpy(frame.data(), &size, sizeof size);
  return frame.append(bytes);
}

struct Frame {
  Kind kind{};
  std::string bytes;
};

// Takes the first frame out of `stream` if it is there as a whole.
inline bool take_frame(std::string& stream, Frame& frame) {
  if (stream.size() < kHeader) return false;
  std::uint32_t size = 0;
  std::memcpy(&size, stream.data(), sizeof size);
  if (stream.size() < kHeader + size) return false;
  frame.kind = static_cast<Kind>(stream[4]);
  frame.bytes.assign(stream, kHeader, size);
  stream.erase(0, kHeader + size);
  return true;
}

// A command to run. Strings carry no NUL, so NULs separate them on the wire.
struct Job {
  std::string terminal;  // "ROWS COLUMNS" when the command gets a terminal, else empty
  std::string out;       // a folder of the caller to be writable at its own path, or empty
  std::string folder;    // where to run
  std::string cache;     // a folder of the caller to be seen at its own path, wherever that is
  std::vector<std::string> environment, command;
};

inline std::string encode(const Job& job) {
  std::string bytes;
  const auto add = [&](const std::string& text) { bytes.append(text).push_back('\0'); };
  add(job.terminal);
  add(job.out);
  add(job.folder);
  add(job.cache);
  add(std::to_string(job.environment.size()));
  for (const auto& text : job.environment) add(text);
  for (const auto& text : job.command) add(text);
  return bytes;
}

inline Job decode(std::string_view bytes) {
  const auto take = [&] {
    const auto end = bytes.find('\0');
    std::string text(bytes.substr(0, end));
    bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 1);
    return text;
  };
  Job job;
  job.terminal = take();
  job.out = take();
  job.folder = take();
  job.cache = take();
  for (auto count = std::stoul(take()); count > 0; --count) job.environment.push_back(take());
  while (!bytes.empty()) job.command.push_back(take());
  return job;
}

}  // namespace dvm::lab
