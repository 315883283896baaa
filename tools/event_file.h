// The file that --events names: one JSON object a line.
#pragma once

#include <string>

#include "fabric/event_log.h"
#include "fabric/fd.h"

namespace dvm::tools {

class EventFile {
 public:
  // Appends to what is there. Error if it cannot be written.
  static Result<EventFile> open(const std::string& path);
  // A file that no longer takes lines is given up with one message.
  void append(const fabric::Event& event);
  // Removes the file if `open` made it: for a guest that never started.
  void discard();

 private:
  EventFile(std::string path, Fd fd, bool created)
      : path_(std::move(path)), fd_(std::move(fd)), created_(created) {}
  std::string path_;
  Fd fd_;
  bool created_;
};

}  // namespace dvm::tools
