// A job of the kind that MapReduce programs do, over all CPUs, done so many times over; each time
// the result is held against one that a single thread made another way.
//   job_work --job wordcount|kmeans|matrix|histogram|blackscholes|dedup [--repeats 40] [--threads
//   N]
//            [--spoil input:N|result:N]
// Prints how far it is, some forty times in all, and in the end the pieces done and the nanoseconds
// they took. --spoil changes byte N (modulo their number) of the input before the first time, or of
// the result after the last: the check must find that, and a test sees to it.
#include "jobs/jobs.h"

namespace {

using guest::Format;

constexpr size_t kTold = 40;  // a line on a serial port takes time, too

// Where a byte is to be changed.
struct Spoil {
  bool input = false, result = false;
  size_t byte = 0;

  static bool Read(const std::string& text, Spoil& spoil) {
    const size_t colon = text.find(':');
    if (text.empty()) return true;
    if (colon == std::string::npos) return false;
    const std::string what = text.substr(0, colon), number = text.substr(colon + 1);
    char* end = nullptr;
    spoil.byte = strtoull(number.c_str(), &end, 10);
    spoil.input = what == "input";
    spoil.result = what == "result";
    return (spoil.input || spoil.result) && !number.empty() && *end == '\0';
  }
  void Change(std::span<uint8_t> bytes) const { bytes[byte % bytes.size()] ^= 1; }
};

void Check(jobs::Job& job, size_t repeat, guest::Verdict& verdict) {
  const auto result = job.Result();
  const auto expected = job.Expected();
  if (result.size() != expected.size()) {
    verdict.Fail("repeat %zu: the result has %zu bytes, not %zu", repeat, result.size(),
                 expected.size());
    return;
  }
  const auto [wrong, right] = std::mismatch(result.begin(), result.end(), expected.begin());
  if (wrong == result.end()) return;
  verdict.Fail("repeat %zu: byte %zu of the result is %u, not %u", repeat,
               static_cast<size_t>(wrong - result.begin()), *wrong, *right);
}

int Work(const std::string& name, size_t repeats, size_t threads, const Spoil& spoil) {
  guest::Verdict verdict("job_work");
  const auto job = jobs::Make(name);
  if (spoil.input) spoil.Change(job->Input());
  jobs::Crew crew(guest::Cpus(), threads);
  printf("job_work: 0 of %zu\n", repeats);
  const int64_t from = guest::Nanoseconds();
  for (size_t repeat = 1; repeat <= repeats; repeat++) {
    job->Repeat(crew);
    if (spoil.result && repeat == repeats) spoil.Change(job->Result());
    Check(*job, repeat, verdict);
    if (repeat * kTold / repeats != (repeat - 1) * kTold / repeats)
      printf("job_work: %zu of %zu\n", repeat, repeats);
  }
  const auto elapsed = static_cast<long long>(guest::Nanoseconds() - from);
  return verdict.Finish(Format("job=%s units=%llu elapsed_ns=%lld", name.c_str(),
                               static_cast<unsigned long long>(crew.units()), elapsed));
}

}  // namespace

namespace jobs {

std::unique_ptr<Job> Make(const std::string& name) {
  if (name == "wordcount") return MakeWordCount();
  if (name == "kmeans") return MakeKMeans();
  if (name == "matrix") return MakeMatrix();
  if (name == "histogram") return MakeHistogram();
  if (name == "blackscholes") return MakeBlackScholes();
  if (name == "dedup") return MakeDedup();
  return nullptr;
}

}  // namespace jobs

int main(int argc, char** argv) {
  guest::Options options(argc, argv, {"job", "repeats", "threads", "spoil"});
  const std::string name = options.Text("job", "wordcount");
  const auto cpus = static_cast<double>(guest::Cpus().size());
  const double repeats = options.Number("repeats", 40), threads = options.Number("threads", cpus);
  Spoil spoil;
  if (std::none_of(std::begin(jobs::kNames), std::end(jobs::kNames),
                   [&](const char* known) { return name == known; })) {
    fprintf(stderr, "--job %s: none of wordcount, kmeans, matrix, histogram, blackscholes, dedup\n",
            name.c_str());
    return guest::kUsage;
  }
  if (repeats < 1 || repeats > 1e6 || threads < 1 || threads > 1024) {
    fprintf(stderr, "--repeats: 1 to 1000000, --threads: 1 to 1024\n");
    return guest::kUsage;
  }
  if (!Spoil::Read(options.Text("spoil", ""), spoil)) {
    fprintf(stderr, "--spoil: input:N or result:N\n");
    return guest::kUsage;
  }
  return Work(name, static_cast<size_t>(repeats), static_cast<size_t>(threads), spoil);
}
