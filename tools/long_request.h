// A request that takes its time, on a thread of its own, while its client is told how far it is.
#pragma once

#include <functional>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct RequestProgress {
  u64 done = 0, total = 0;  // bytes or milliseconds
};

// Called on the request's thread.
struct RequestListener {
  std::function<void(RequestProgress)> progress;  // about twice a second
  std::function<void(Status)> done;               // once, unless the request was destroyed before
};

// The destructor gives it up, if it is not done.
class LongRequest {
 public:
  virtual ~LongRequest() = default;
};

}  // namespace dvm::tools
