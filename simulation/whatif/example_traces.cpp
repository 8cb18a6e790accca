#include "simulation/whatif/example_traces.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/prng.h"

namespace skep::simulation::whatif {
namespace {

// From seven in the morning to seven in the evening, UTC, on one working day.
constexpr int first_hour = 7;
constexpr std::array<int, 12> jobs_per_hour{12, 45, 85, 105, 80, 45, 70, 100, 95, 60, 25, 10};

struct Job {
  std::int64_t at_ms = 0;  // since midnight
  std::string label;
  std::int64_t length_s = 0;
  bool is_pipeline = false;
};

/// Most builds are short, a few are long.
std::int64_t draw_length(Prng& prng) {
  const std::uint64_t kind = prng.below(100);
  if (kind < 50) return prng.between(40, 240);
  if (kind < 88) return prng.between(240, 900);
  return prng.between(900, 2700);
}

std::string draw_label(Prng& prng) {
  const std::uint64_t kind = prng.below(100);
  if (kind < 62) return "linux";
  if (kind < 80) return "linux && x86";
  if (kind < 94) return "big";
  return "";  // any node
}

void add_hour(Prng& prng, int hour, int jobs, std::vector<Job>& out) {
  for (int i = 0; i < jobs; ++i) {
    Job job;
    job.at_ms = std::int64_t{hour} * 3'600'000 + prng.between(0, 3'599'999);
    job.label = draw_label(prng);
    job.length_s = draw_length(prng);
    job.is_pipeline = prng.chance(2, 3);
    out.push_back(std::move(job));
  }
}

/// A branch was made: every project is built, most of them within the first minutes.
void add_burst(Prng& prng, std::int64_t minute_of_day, int jobs, std::vector<Job>& out) {
  for (int i = 0; i < jobs; ++i) {
    Job job;
    const std::int64_t spread_ms = prng.chance(3, 4) ? 240'000 : 900'000;
    job.at_ms = minute_of_day * 60'000 + prng.between(0, spread_ms);
    job.label = prng.chance(1, 6) ? "big" : "linux";
    job.length_s = prng.between(180, 1500);
    job.is_pipeline = prng.chance(5, 6);
    out.push_back(std::move(job));
  }
}

std::string two_digits(std::int64_t value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

std::string time_text(std::int64_t ms) {
  std::string thousandths = std::to_string(ms % 1000);
  thousandths.insert(0, 3 - thousandths.size(), '0');
  return "2026-11-23T" + two_digits(ms / 3'600'000) + ":" + two_digits(ms / 60'000 % 60) + ":" +
         two_digits(ms / 1000 % 60) + "." + thousandths + "Z";
}

}  // namespace

std::optional<ExampleTrace> example_trace_from(std::string_view name) {
  if (name == "office-day") return ExampleTrace::office_day;
  if (name == "release-day") return ExampleTrace::release_day;
  return std::nullopt;
}

std::string make_example_trace(ExampleTrace trace, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < jobs_per_hour.size(); ++i)
    add_hour(prng, first_hour + static_cast<int>(i), jobs_per_hour[i], jobs);
  if (trace == ExampleTrace::release_day) {
    add_burst(prng, 10 * 60 + 30, 260, jobs);
    add_burst(prng, 15 * 60, 420, jobs);
  }
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.at_ms < b.at_ms; });
  std::string out = trace == ExampleTrace::release_day
                        ? "# A working day on which a release is made. Made by rule: skep simulate "
                          "--make-trace release-day\n"
                        : "# A calm working day. Made by rule: skep simulate --make-trace office-day\n";
  out += "arrival,label,duration,kind\n";
  for (const Job& job : jobs) {
    out += time_text(job.at_ms) + "," + job.label + "," + std::to_string(job.length_s) + "," +
           (job.is_pipeline ? "pipeline" : "freestyle") + "\n";
  }
  return out;
}

}  // namespace skep::simulation::whatif
