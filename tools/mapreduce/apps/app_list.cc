#include "tools/mapreduce/apps/app_list.h"

#include "tools/mapreduce/apps/black_scholes.h"
#include "tools/mapreduce/apps/dedup.h"
#include "tools/mapreduce/apps/histogram.h"
#include "tools/mapreduce/apps/kmeans.h"
#include "tools/mapreduce/apps/matrix_multiply.h"
#include "tools/mapreduce/apps/word_count.h"

namespace dvm::mapreduce {

std::vector<std::string> app_names() {
  return {"wordcount", "kmeans", "matrix-multiply", "histogram", "black-scholes", "dedup"};
}

std::unique_ptr<App> make_app(std::string_view name, Scale scale) {
  const bool full = scale == Scale::full;
  if (name == "wordcount") {
    return std::make_unique<WordCount>(full ? WordCount::Size{256 * kMiB, 2048, 256}
                                            : WordCount::Size{256 * kKiB, 32, 8});
  }
  if (name == "kmeans")
    return std::make_unique<Kmeans>(full ? Kmeans::Size{1'048'576, 128, 10}
                                         : Kmeans::Size{4096, 16, 3});
  if (name == "matrix-multiply")
    return std::make_unique<MatrixMultiply>(full ? MatrixMultiply::Size{1536, 32}
                                                 : MatrixMultiply::Size{96, 16});
  if (name == "histogram")
    return std::make_unique<Histogram>(full ? Histogram::Size{288'000'000, 1600}
                                            : Histogram::Size{40'000, 40});
  if (name == "black-scholes")
    return std::make_unique<BlackScholes>(full ? BlackScholes::Size{983'040, 1536}
                                               : BlackScholes::Size{640, 40});
  if (name == "dedup")
    return std::make_unique<Dedup>(full ? Dedup::Size{384 * kMiB, 256 * kKiB}
                                        : Dedup::Size{512 * kKiB, 16 * kKiB});
  return nullptr;
}

}  // namespace dvm::mapreduce
