// The applications, by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

// full: more than a second's work for two processors, in more than a thousand tasks. small: some
// milliseconds, in tens of tasks, for tests.
enum class Scale { small, full };

// wordcount, kmeans, matrix-multiply, histogram, black-scholes, dedup.
std::vector<std::string> app_names();
// Null: no application is called that.
std::unique_ptr<App> make_app(std::string_view name, Scale scale);

}  // namespace dvm::mapreduce
