// Quoting of label texts as Jenkins does it: hudson.util.QuotedStringTokenizer, LabelAtom.escape, Jenkins.checkGoodName.
// Pure; texts are UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Removes one pair of equal quotes (" or ') around the text and resolves backslash escapes inside; else the text itself.
std::string unquote(std::string_view text);
/// "text" with ", \ and the usual control characters escaped.
std::string quote(std::string_view text);
/// True where Jenkins would not print the label bare.
bool needs_escape(std::string_view label);
std::string escape_label(std::string_view label);
/// Splits at blanks (space, tab, CR, LF); quotes group and are removed, backslash escapes one character.
std::vector<std::string> split_quoted(std::string_view text);

}  // namespace skep
