// The command line before and after CLI11 reads it: texts that CLI11 would take apart, and what was mistyped.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace skep::cli {

/// The arguments as CLI11 takes them (last first), with a mark before what it would not leave alone: [a,b],
/// ++, and everything behind "--". take_marks_away() must have been called on the application.
std::vector<std::string> marked_arguments(int argc, const char* const* argv);
/// Every option and positional of the application and its commands gets its texts without the mark.
void take_marks_away(CLI::App& app);

/// exit_usage or exit_ok; says what was mistyped, the nearest thing that exists, and where help is.
int report_parse_error(CLI::App& app, const CLI::ParseError& error,
                       const std::vector<std::string>& arguments);

}  // namespace skep::cli
