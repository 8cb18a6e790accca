// "Did you mean ...?": the known name that differs least from what was typed. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Insertions, deletions, replacements and swaps of neighbours, by bytes, that turn one text into the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The nearest of the known names; "" when all differ by more than a third of the longer text (a short word
/// may differ by one byte). Of equally near ones the first.
std::string nearest_name(std::string_view typed, const std::vector<std::string>& known);

}  // namespace skep
