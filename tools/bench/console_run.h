// A program run to its end while its output is watched for one line, and the clock with it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

// Sees a line that begins with the marker, in whatever parts the output arrives.
class MarkerWatch {
 public:
  using OnLine = std::function<void(std::string_view line)>;
  // `on_line` is told every whole line, without its end; may be empty.
  explicit MarkerWatch(std::string marker, OnLine on_line = {})
      : marker_(std::move(marker)), on_line_(std::move(on_line)) {}
  // True once, with the part that completes the line.
  bool feed(std::string_view part);
  // The line, without its end; empty until it was seen.
  const std::string& line() const { return found_; }
  // The last of all that was fed, for people.
  std::string tail() const;

 private:
  std::string marker_;
  OnLine on_line_;
  std::string text_;
  std::string found_;
  std::size_t next_ = 0;  // where the first line that is not complete begins
};

struct ConsoleRequest {
  std::vector<std::string> words;  // the program, found by PATH, and its arguments
  std::string marker;
  double limit_s = 60;              // then it is killed
  std::function<void()> at_marker;  // called once, after the time is taken; may be empty
  MarkerWatch::OnLine on_line;
};

struct ConsoleRun {
  std::optional<double> marker_s;  // from just before the process is made
  std::string marker_line;
  double end_s = 0;  // until it is gone
  bool timed_out = false;
  int wait_status = 0;  // as of waitpid
  std::string tail;
};

// stdin is /dev/null; stdout and stderr are what is watched.
Result<ConsoleRun> run_on_console(const ConsoleRequest& request);

}  // namespace dvm::tools
