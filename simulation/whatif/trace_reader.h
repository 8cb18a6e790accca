// Reads a trace: what arrived, when, for which label, and how long it took. Streams: no more than one line is
// held, so a trace may be of any length. Format: docs/how-to/simulate.md.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "simulation/farm.h"
#include "simulation/whatif/trace_text.h"

namespace skep::simulation::whatif {

/// Where the bytes come from: a file, or a test.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// At most `most` bytes; 0 only at the end.
  virtual std::size_t read(char* into, std::size_t most) = 0;
};

/// Lines of a source; LF or CRLF ends one, the end of the source ends the last.
class LineReader {
 public:
  static constexpr std::size_t most_line_bytes = std::size_t{1} << 20;
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 16;

  explicit LineReader(ByteSource& source) : source_(&source) {}
  enum class Got { line, too_long, end };
  /// too_long: `line` is its beginning; the rest is skipped, the next call gives the next line.
  Got next(std::string& line);
  std::size_t held_bytes() const { return buffer_.capacity(); }

 private:
  bool fill();
  ByteSource* source_;
  std::vector<char> buffer_ = std::vector<char>(buffer_bytes);
  std::size_t at_ = 0, filled_ = 0;
};

struct TraceJob {
  Duration at{};  // since 1970, or since wherever the trace begins to count
  std::string label;
  Duration length{};
  bool is_pipeline = false;
  Duration quiet_period{};
};

class TraceReader {
 public:
  /// `source` outlives it; `name` stands in messages.
  TraceReader(ByteSource& source, std::string name);
  /// nullopt: the end. An error (invalid_input, "NAME:LINE:COLUMN: what") concerns one line: the next call
  /// goes on behind it. Only a header that cannot be used leaves nothing to go on with: then the end follows.
  Result<std::optional<TraceJob>> next();
  /// What it keeps of the source at this moment, without the texts of one line's fields.
  std::size_t held_bytes() const { return lines_.held_bytes() + line_.capacity(); }

 private:
  enum Field {
    arrival,
    arrival_ms,
    label,
    duration,
    duration_ms,
    kind,
    quiet,
    quiet_ms,
    job_name,
    field_count
  };
  static constexpr std::array<std::string_view, field_count> names_{
      "arrival", "arrival_ms", "label", "duration", "duration_ms", "kind", "quiet", "quiet_ms", "job"};
  using Values = std::array<const TraceField*, field_count>;
  enum class Notation { unknown, csv, json_lines, unusable };

  Error at_line(std::size_t column, const std::string& what) const;
  std::optional<LineProblem> read_header();
  std::optional<LineProblem> read_fields();
  std::optional<LineProblem> find_values(Values& out) const;
  std::optional<LineProblem> read_job(TraceJob& out);
  std::optional<LineProblem> check_order(const TraceJob& job, std::size_t column);
  static std::optional<Field> field_named(std::string_view name);
  static LineProblem unknown_name(const TraceField& field);

  LineReader lines_;
  std::string name_;
  std::size_t number_ = 0;  // of the line, from 1
  std::string line_;
  std::vector<TraceField> header_, fields_;
  Notation notation_ = Notation::unknown;
  std::optional<Duration> last_;
};

/// A trace that was looked at as a whole.
struct TraceSummary {
  std::uint64_t jobs = 0;
  Duration first{}, last{};  // arrivals, as written
  Duration work{};           // sum of the lengths; stays at the largest value when it would overflow
  Duration span() const { return last - first; }
  /// The times are of the calendar, not of a clock that somebody started: they lie behind the year 2001.
  bool is_calendar() const { return first >= seconds(1'000'000'000); }
};

/// Reads it to its end. Error: invalid_input with at most ten lines of problems, or that it holds no job.
Result<TraceSummary> scan_trace(ByteSource& source, const std::string& name);

/// A trace as the farm takes it: the job that arrived at `first` comes at `first_at`.
class TraceLoad : public Load {
 public:
  TraceLoad(ByteSource& source, std::string name, Duration first, Instant first_at)
      : reader_(source, std::move(name)), shift_(first_at.time_since_epoch() - first) {}
  std::optional<Arrival> next() override;
  /// Why it ended early: the source is not any more what it was when it was scanned.
  const std::optional<Error>& error() const { return error_; }

 private:
  TraceReader reader_;
  Duration shift_;
  std::optional<Error> error_;
};

}  // namespace skep::simulation::whatif
