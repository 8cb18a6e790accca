#include "simulation/whatif/trace_reader.h"

#include <algorithm>
#include <limits>

#include "core/bounds.h"
#include "core/nearest_name.h"

namespace skep::simulation::whatif {
namespace {

constexpr const char* allowed_arrival = "seconds (such as 12.5), or a time such as 2026-11-23T08:00:00Z";
constexpr const char* allowed_length = "seconds (such as 90 or 12.5), or 90s, 2m, 1h30m";
constexpr const char* allowed_ms = "a number of milliseconds";
constexpr Duration most_length = hours(24 * 366);

std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  return "\"" + std::string(text.substr(0, most)) + (text.size() > most ? "...\"" : "\"");
}

LineProblem bad_value(const TraceField& field, const std::string& allowed) {
  return {field.column, field.name + ": found " + shown(field.text) + "; allowed: " + allowed};
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t") == std::string_view::npos;
}

/// One of two ways to write a time. Neither, or both, is a problem.
std::optional<LineProblem> choose(const TraceField* plain, const TraceField* in_ms, const std::string& name) {
  if (plain == nullptr && in_ms == nullptr)
    return LineProblem{1, "found no " + name + "; allowed: " + name + " or " + name + "_ms"};
  if (plain != nullptr && in_ms != nullptr)
    return LineProblem{in_ms->column, "found " + name + " and " + name + "_ms; allowed: one of them"};
  return std::nullopt;
}

std::optional<LineProblem> read_length(const TraceField* plain, const TraceField* in_ms, Duration& out) {
  const TraceField& field = plain != nullptr ? *plain : *in_ms;
  const auto value = plain != nullptr ? parse_length(field.text) : parse_count(field.text, milliseconds(1));
  if (!value) return bad_value(field, plain != nullptr ? allowed_length : allowed_ms);
  if (*value > most_length) return bad_value(field, "at most 366 days");
  out = *value;
  return std::nullopt;
}

}  // namespace

bool LineReader::fill() {
  at_ = 0;
  filled_ = source_->read(buffer_.data(), buffer_.size());
  return filled_ > 0;
}

LineReader::Got LineReader::next(std::string& line) {
  line.clear();
  if (at_ == filled_ && !fill()) return Got::end;
  bool is_too_long = false;
  do {
    const char* start = buffer_.data() + at_;
    const char* end = std::find(start, static_cast<const char*>(buffer_.data() + filled_), '\n');
    const auto length = static_cast<std::size_t>(end - start);
    const std::size_t taken = std::min(length, most_line_bytes - line.size());
    line.append(start, taken);
    is_too_long = is_too_long || taken < length;
    at_ += length;
    if (at_ < filled_) {
      ++at_;
      break;
    }
  } while (fill());
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return is_too_long ? Got::too_long : Got::line;
}

TraceReader::TraceReader(ByteSource& source, std::string name) : lines_(source), name_(std::move(name)) {}

Error TraceReader::at_line(std::size_t column, const std::string& what) const {
  return Error::failed(ErrorCode::invalid_input,
                       name_ + ":" + std::to_string(number_) + ":" + std::to_string(column) + ": " + what);
}

std::optional<TraceReader::Field> TraceReader::field_named(std::string_view name) {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) return std::nullopt;
  return static_cast<Field>(found - names_.begin());
}

LineProblem TraceReader::unknown_name(const TraceField& field) {
  std::string allowed;
  std::vector<std::string> known;
  for (const std::string_view name : names_) {
    known.emplace_back(name);
    allowed += (allowed.empty() ? "" : ", ") + known.back();
  }
  const std::string nearest = nearest_name(field.name, known);
  return {field.column, "found the name " + shown(field.name) + "; allowed: " + allowed +
                            (nearest.empty() ? "" : "; did you mean " + nearest + "?")};
}

std::optional<LineProblem> TraceReader::read_header() {
  if (auto problem = split_csv(line_, header_)) return problem;
  if (header_.size() > 1 && parse_arrival(header_[0].text))
    return LineProblem{1,
                       "found no header; allowed: a first line that names the columns, such as "
                       "arrival,label,duration"};
  for (TraceField& column : header_) {
    const std::size_t start = std::min(column.text.find_first_not_of(' '), column.text.size());
    column.name = column.text.substr(start, column.text.find_last_not_of(' ') + 1 - start);
    if (!field_named(column.name)) return unknown_name(column);
    for (const TraceField* other = header_.data(); other != &column; ++other) {
      if (other->name == column.name)
        return LineProblem{column.column, "found the column " + column.name + " again"};
    }
  }
  Values values{};
  for (const TraceField& column : header_) values[*field_named(column.name)] = &column;
  if (auto problem = choose(values[arrival], values[arrival_ms], "arrival")) return problem;
  if (auto problem = choose(values[duration], values[duration_ms], "duration")) return problem;
  if (values[label] == nullptr) return LineProblem{1, "found no column label"};
  return std::nullopt;
}

std::optional<LineProblem> TraceReader::read_fields() {
  if (notation_ == Notation::json_lines) return split_json_object(line_, fields_);
  if (auto problem = split_csv(line_, fields_)) return problem;
  if (fields_.size() != header_.size())
    return LineProblem{fields_.back().column, "found " + std::to_string(fields_.size()) +
                                                  " fields; allowed: " + std::to_string(header_.size()) +
                                                  ", as in the header"};
  for (std::size_t i = 0; i < fields_.size(); ++i) fields_[i].name = header_[i].name;
  return std::nullopt;
}

std::optional<LineProblem> TraceReader::find_values(Values& out) const {
  out.fill(nullptr);
  for (const TraceField& field : fields_) {
    const auto known = field_named(field.name);
    if (!known) return unknown_name(field);
    out[*known] = &field;
  }
  return std::nullopt;
}

std::optional<LineProblem> TraceReader::check_order(const TraceJob& next, std::size_t column) {
  if (last_ && next.at < *last_)
    return LineProblem{column, "found an arrival " + duration_to_text(*last_ - next.at) +
                                   " before the one above it; allowed: lines in the order of their arrival"};
  last_ = next.at;
  return std::nullopt;
}

std::optional<LineProblem> TraceReader::read_job(TraceJob& out) {
  if (auto problem = read_fields()) return problem;
  Values values{};
  if (auto problem = find_values(values)) return problem;
  if (auto problem = choose(values[arrival], values[arrival_ms], "arrival")) return problem;
  if (auto problem = choose(values[duration], values[duration_ms], "duration")) return problem;
  if (values[label] == nullptr) return LineProblem{1, "found no label; allowed: an empty one for any node"};
  if (values[label]->text.size() > bounds::max_label_text_bytes)
    return LineProblem{values[label]->column, "found a label of more than 64 KiB"};
  out.label = values[label]->text;
  const TraceField& at = values[arrival] != nullptr ? *values[arrival] : *values[arrival_ms];
  const auto arrived =
      values[arrival] != nullptr ? parse_arrival(at.text) : parse_count(at.text, milliseconds(1));
  if (!arrived) return bad_value(at, values[arrival] != nullptr ? allowed_arrival : allowed_ms);
  out.at = *arrived;
  if (auto problem = read_length(values[duration], values[duration_ms], out.length)) return problem;
  const bool has_quiet = values[quiet] != nullptr && !values[quiet]->text.empty();
  const bool has_quiet_ms = values[quiet_ms] != nullptr && !values[quiet_ms]->text.empty();
  if (has_quiet && has_quiet_ms) return choose(values[quiet], values[quiet_ms], "quiet");
  if (has_quiet || has_quiet_ms) {
    if (auto problem = read_length(has_quiet ? values[quiet] : nullptr, values[quiet_ms], out.quiet_period))
      return problem;
  }
  if (values[kind] != nullptr && !values[kind]->text.empty()) {
    out.is_pipeline = values[kind]->text == "pipeline";
    if (!out.is_pipeline && values[kind]->text != "freestyle")
      return bad_value(*values[kind], "freestyle, pipeline, or nothing");
  }
  return check_order(out, at.column);
}

Result<std::optional<TraceJob>> TraceReader::next() {
  for (;;) {
    const LineReader::Got got = notation_ == Notation::unusable ? LineReader::Got::end : lines_.next(line_);
    if (got == LineReader::Got::end) return std::optional<TraceJob>();
    ++number_;
    if (got == LineReader::Got::too_long) return at_line(1, "found a line of more than 1 MiB");
    if (number_ == 1 && line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);
    if (is_blank(line_)) continue;
    if (notation_ == Notation::unknown && line_[line_.find_first_not_of(" \t")] == '{')
      notation_ = Notation::json_lines;
    if (notation_ != Notation::json_lines && line_[0] == '#') continue;
    if (notation_ == Notation::unknown) {
      notation_ = Notation::csv;
      if (const auto problem = read_header()) {
        notation_ = Notation::unusable;
        return at_line(problem->column, problem->what);
      }
      continue;
    }
    TraceJob job;
    if (const auto problem = read_job(job)) return at_line(problem->column, problem->what);
    return std::optional(std::move(job));
  }
}

Result<TraceSummary> scan_trace(ByteSource& source, const std::string& name) {
  constexpr int most_problems = 10;
  TraceReader reader(source, name);
  TraceSummary summary;
  std::string problems;
  for (int found = 0; found < most_problems;) {
    const auto job = reader.next();
    if (!job) {
      problems += (problems.empty() ? "" : "\n") + job.error().message;
      ++found;
      continue;
    }
    if (!*job) break;
    if (summary.jobs++ == 0) summary.first = (*job)->at;
    summary.last = (*job)->at;
    const bool fits = (*job)->length <= Duration::max() - summary.work;
    summary.work = fits ? summary.work + (*job)->length : Duration::max();
  }
  if (!problems.empty()) return Error::failed(ErrorCode::invalid_input, problems);
  if (summary.jobs == 0) return Error::failed(ErrorCode::invalid_input, name + ":1:1: found no job");
  return summary;
}

std::optional<Arrival> TraceLoad::next() {
  if (error_) return std::nullopt;
  auto job = reader_.next();
  if (!job) {
    error_ = job.error();
    return std::nullopt;
  }
  if (!*job) return std::nullopt;
  Arrival arrival;
  arrival.at = Instant((*job)->at + shift_);
  arrival.label = std::move((*job)->label);
  arrival.length = (*job)->length;
  arrival.is_pipeline = (*job)->is_pipeline;
  arrival.quiet_period = (*job)->quiet_period;
  return arrival;
}

}  // namespace skep::simulation::whatif
