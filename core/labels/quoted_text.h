// Quoting of label texts as Jenkins does it: hudson.util.QuotedStringTokenizer, LabelAtom.escape,
// Jenkins.checkGoodName (read in Jenkins 2.479.3 and 2.528.3).
//
// Pure; texts are UTF-8, and bytes that are not pass through.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skep {

/// Removes one pair of equal quotes (" or ') around the text and resolves backslash escapes inside; else the
/// text itself. \uXXXX comes out as these versions of Jenkins read it, which is not the character that is
/// meant: only the second and third hexadecimal digit count. Where they throw (the text ends in the middle of
/// it) the text stays as it is.
std::string unquote(std::string_view text);

/// "text" with ", \ and the usual control characters escaped. Other control characters stand as they are.
std::string quote(std::string_view text);

/// True where Jenkins would not print the label bare. A quote sign alone is no reason for Jenkins: a"b is
/// printed so.
bool needs_escape(std::string_view label);

/// quote(label) where it needs_escape, else the label.
std::string escape_label(std::string_view label);

/// Splits at blanks (space, tab, CR, LF). Quotes group and are removed; an empty pair of them makes an empty
/// token. A backslash takes \, ", ' and space literally and stays before everything else (C:\tools); at the
/// start of a token it is an ordinary character.
std::vector<std::string> split_quoted(std::string_view text);

}  // namespace skep
