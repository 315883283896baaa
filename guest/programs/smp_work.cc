// A short job for all CPUs at once, that checks its own results: matrix product, prime sieve, sort.
//   smp_work [--scale 1] [--threads N]
// At scale 1 it is 2 to 3 seconds of work for one ordinary CPU; the work grows with the scale.
// CPUs take pieces of work as they get free, so the shares show how the machine's CPUs really run.
#include <cmath>
#include <numeric>

#include "common.h"

namespace {

using guest::Format;

// Time spent working, per CPU, over all jobs.
struct alignas(64) Share {
  int64_t nanoseconds = 0;
  uint64_t pieces = 0;
};

class Workers {
 public:
  Workers(std::vector<int> cpus, size_t threads) : cpus_(std::move(cpus)), shares_(threads) {}

  // Runs piece(0..pieces-1), each once, on whichever thread is free.
  void Run(size_t pieces, const std::function<void(size_t)>& piece) {
    std::atomic<size_t> next{0};
    guest::RunThreads(cpus_, shares_.size(), [&](size_t me) {
      size_t mine;
      while ((mine = next.fetch_add(1)) < pieces) {
        const int64_t begin = guest::Nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        piece(mine);
        shares_[me].nanoseconds += guest::Nanoseconds(CLOCK_THREAD_CPUTIME_ID) - begin;
        shares_[me].pieces++;
      }
    });
  }

  void PrintShares() const {
    int64_t total = 1;
    for (const Share& share : shares_) total += share.nanoseconds;
    for (size_t i = 0; i < shares_.size(); i++) {
      printf("smp_work: cpu %d: %5.1f %% of the work, %llu pieces, %.2f s\n",
             cpus_[i % cpus_.size()],
             100.0 * static_cast<double>(shares_[i].nanoseconds) / static_cast<double>(total),
             static_cast<unsigned long long>(shares_[i].pieces),
             static_cast<double>(shares_[i].nanoseconds) / 1e9);
    }
  }
  size_t threads() const { return shares_.size(); }

 private:
  std::vector<int> cpus_;
  std::vector<Share> shares_;
};

using Matrix = std::vector<double>;

Matrix SmallIntegers(size_t count, uint64_t seed) {
  guest::Rng rng(seed);
  Matrix matrix(count);
  for (double& value : matrix) value = static_cast<double>(rng.Below(16));
  return matrix;
}

// y = M x
Matrix Apply(const Matrix& matrix, const Matrix& x) {
  const size_t n = x.size();
  Matrix y(n);
  for (size_t i = 0; i < n; i++) {
    const double* row = &matrix[i * n];
    y[i] = std::inner_product(row, row + n, x.begin(), 0.0);
  }
  return y;
}

// All values are integers far below 2^53, so the result is exact, and A (B r) = C r checks all of
// C.
void MultiplyMatrices(Workers& workers, double scale, guest::Verdict& verdict) {
  const auto n = static_cast<size_t>(1300 * std::cbrt(scale)) / 8 * 8 + 8;
  const Matrix a = SmallIntegers(n * n, 1);
  const Matrix b = SmallIntegers(n * n, 2);
  Matrix c(n * n);
  workers.Run(n / 8, [&](size_t piece) {
    for (size_t i = piece * 8; i < piece * 8 + 8; i++) {
      for (size_t k = 0; k < n; k++) {
        const double factor = a[i * n + k];
        for (size_t j = 0; j < n; j++) c[i * n + j] += factor * b[k * n + j];
      }
    }
  });
  const Matrix r = SmallIntegers(n, 3);
  if (Apply(a, Apply(b, r)) != Apply(c, r)) verdict.Fail("matrix product is wrong");
  printf("smp_work: matrix product %zu x %zu: verified\n", n, n);
}

// The number of primes up to n by Lucy's method: a wholly different way, to check the sieve with.
uint64_t CountPrimesOtherwise(uint64_t n) {
  const auto root = static_cast<uint64_t>(std::sqrt(static_cast<double>(n)));
  std::vector<uint64_t> low(root + 1), high(root + 1);  // counts up to i, and up to n / i
  for (uint64_t i = 1; i <= root; i++) {
    low[i] = i - 1;
    high[i] = n / i - 1;
  }
  for (uint64_t p = 2; p <= root; p++) {
    if (low[p] == low[p - 1]) continue;
    const uint64_t before = low[p - 1];
    for (uint64_t i = 1; i <= root && n / i >= p * p; i++) {
      high[i] -= (i * p <= root ? high[i * p] : low[n / i / p]) - before;
    }
    for (uint64_t i = root; i >= p * p; i--) low[i] -= low[i / p] - before;
  }
  return high[1];
}

std::vector<uint32_t> SmallPrimes(uint64_t limit) {
  std::vector<bool> composite(limit + 1);
  std::vector<uint32_t> primes;
  for (uint64_t i = 2; i <= limit; i++) {
    if (composite[i]) continue;
    primes.push_back(static_cast<uint32_t>(i));
    for (uint64_t j = i * i; j <= limit; j += i) composite[j] = true;
  }
  return primes;
}

void SievePrimes(Workers& workers, double scale, guest::Verdict& verdict) {
  constexpr uint64_t kSegment = 1 << 18;
  const uint64_t segments = static_cast<uint64_t>(2800 * scale) + 1;
  const uint64_t limit = segments * kSegment;  // counts below this
  const std::vector<uint32_t> primes =
      SmallPrimes(static_cast<uint64_t>(std::sqrt(static_cast<double>(limit))) + 1);
  std::atomic<uint64_t> found{0};
  workers.Run(segments, [&](size_t segment) {
    const uint64_t begin = segment * kSegment;
    std::vector<uint8_t> composite(kSegment);
    for (uint64_t p : primes) {
      if (p * p >= begin + kSegment) break;
      uint64_t multiple = std::max(p * p, (begin + p - 1) / p * p);
      for (; multiple < begin + kSegment; multiple += p) composite[multiple - begin] = 1;
    }
    if (segment == 0) composite[0] = composite[1] = 1;
    found += static_cast<uint64_t>(std::count(composite.begin(), composite.end(), 0));
  });
  const uint64_t right = CountPrimesOtherwise(limit - 1);
  if (found.load() != right) {
    verdict.Fail("sieve found %llu primes, not %llu", static_cast<unsigned long long>(found.load()),
                 static_cast<unsigned long long>(right));
  }
  printf("smp_work: %llu primes below %llu: verified\n",
         static_cast<unsigned long long>(found.load()), static_cast<unsigned long long>(limit));
}

void SortNumbers(Workers& workers, double scale, guest::Verdict& verdict) {
  size_t pieces = 1;
  while (pieces < workers.threads() * 4) pieces *= 2;
  const size_t length = static_cast<size_t>(7e6 * scale) / pieces + 1;
  std::vector<uint64_t> numbers(length * pieces);
  guest::Rng rng(4);
  for (uint64_t& number : numbers) number = rng.Next();
  const uint64_t sum = std::accumulate(numbers.begin(), numbers.end(), uint64_t{0});
  auto at = [&](size_t piece) { return numbers.begin() + static_cast<ptrdiff_t>(piece * length); };
  workers.Run(pieces, [&](size_t piece) { std::sort(at(piece), at(piece + 1)); });
  for (size_t width = 1; width < pieces; width *= 2) {
    workers.Run(pieces / width / 2, [&](size_t pair) {
      const size_t first = pair * 2 * width;
      std::inplace_merge(at(first), at(first + width), at(first + 2 * width));
    });
  }
  if (!std::is_sorted(numbers.begin(), numbers.end()) ||
      std::accumulate(numbers.begin(), numbers.end(), uint64_t{0}) != sum) {
    verdict.Fail("sort is wrong");
  }
  printf("smp_work: %zu numbers sorted: verified\n", numbers.size());
}

}  // namespace

int main(int argc, char** argv) {
  guest::Options options(argc, argv, {"scale", "threads"});
  guest::Verdict verdict("smp_work");
  const double scale = options.Number("scale", 1);
  const std::vector<int> cpus = guest::Cpus();
  const auto threads =
      static_cast<size_t>(options.Number("threads", static_cast<double>(cpus.size())));
  const int64_t begin = guest::Nanoseconds();
  Workers workers(cpus, std::max<size_t>(threads, 1));
  MultiplyMatrices(workers, scale, verdict);
  SievePrimes(workers, scale, verdict);
  SortNumbers(workers, scale, verdict);
  const double elapsed = static_cast<double>(guest::Nanoseconds() - begin) / 1e9;
  workers.PrintShares();
  return verdict.Finish(Format("cpus=%zu threads=%zu scale=%g seconds=%.2f cpu-seconds=%.2f",
                               cpus.size(), workers.threads(), scale, elapsed,
                               static_cast<double>(clock()) / CLOCKS_PER_SEC));
}
