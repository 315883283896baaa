#include "tools/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tools/event_text.h"
#include "tools/json_text.h"
#include "tools/message.h"

namespace dvm::tools {

// Never blocks, not even when the path is a pipe that nobody reads.
Result<EventFile> EventFile::open(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_NONBLOCK;
  auto fresh = Fd::open(path, kFlags | O_CREAT | O_EXCL, 0644);
  const bool created = fresh.ok();
  if (!created && fresh.error().sys_errno == EEXIST) fresh = Fd::open(path, kFlags);
  if (!fresh) return usage_error("--events: {}", fresh.error().message);
  return EventFile(path, fresh.take(), created);
}

void EventFile::append(const fabric::Event& event) {
  if (!fd_.valid()) return;
  const std::string line = to_line(event_json(event)) + "\n";
  if (const auto status = fd_.write_all(std::as_bytes(std::span(line)), path_); !status) {
    say("--events: {}: no more events are written", status.error().message);
    fd_.reset();
  }
}

void EventFile::discard() {
  if (created_) ::unlink(path_.c_str());
  fd_.reset();
}

}  // namespace dvm::tools
