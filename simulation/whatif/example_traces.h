// The traces that come with Skep, made by rule: not measured anywhere. The same text for a seed on every
// compiler. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skep::simulation::whatif {

enum class ExampleTrace {
  office_day,   // 12 hours with a hill before noon and one after
  release_day,  // the same day with two bursts: everything is built for a branch, twice
};

std::optional<ExampleTrace> example_trace_from(std::string_view name);  // "office-day", "release-day"

/// CSV with a header, in the order of arrival; some hundred kilobytes at most.
std::string make_example_trace(ExampleTrace trace, std::uint64_t seed);

}  // namespace skep::simulation::whatif
