// What every view does: ask, print as JSON or for people, and take a strange answer as an answer.
#pragma once

#include <functional>
#include <string>

#include "cli/commands.h"
#include "cli/table.h"

namespace skep::cli {

/// As wide as the terminal, in its colours.
void print_table(const Table& table);

using Print = std::function<int(const json::Json&)>;
using Choose = std::function<Result<json::Json>(json::Json)>;

/// Asks the scheduler and prints what `choose` leaves of the answer (empty: everything).
int show(const Context& context, const std::string& target, const Print& print, const Choose& choose = {});
/// The same with what was asked already.
int show_answer(const Context& context, const json::Json& answer, const Print& print);

}  // namespace skep::cli
