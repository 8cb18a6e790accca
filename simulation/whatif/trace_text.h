// The texts of a trace's line: two notations (CSV, JSON lines), one list of named fields; and how times are
// written in them. The format is described in docs/how-to/simulate.md. Pure, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace skep::simulation::whatif {

/// Where in a line something is wrong, and what. Columns are bytes, from 1.
struct LineProblem {
  std::size_t column = 1;
  std::string what;
};

struct TraceField {
  std::string name;
  std::string text;  // without quotes and escapes; of null: empty
  std::size_t column = 1;
};

/// One field, or what follows the last comma; names are empty. Quotes as in RFC 4180, but a field ends with
/// its line.
std::optional<LineProblem> split_csv(std::string_view line, std::vector<TraceField>& out);
/// One flat object: texts, numbers, true, false and null as values.
std::optional<LineProblem> split_json_object(std::string_view line, std::vector<TraceField>& out);

/// "12", "12.5" (at most nine decimals are read) times `unit`; nullopt for anything else and beyond 100
/// years.
std::optional<Duration> parse_count(std::string_view text, Duration unit);
/// A time on an axis that begins in 1970 or anywhere else: seconds as above, or 2026-11-23T08:00:00Z, also
/// with a fraction, with an offset (+01:00), and with a blank for the T. Without Z or an offset it is UTC.
std::optional<Duration> parse_arrival(std::string_view text);
/// Seconds as above, or with units: 90s, 2m, 1h30m.
std::optional<Duration> parse_length(std::string_view text);

}  // namespace skep::simulation::whatif
