// The tokens of a label expression (jenkins core LabelExpressionLexer.g4).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace skep {

enum class LabelTokenKind { atom, negation, conjunction, disjunction, implication, equivalence, open, close };

struct LabelToken {
  LabelTokenKind kind = LabelTokenKind::atom;
  std::string label;       // kind == atom: the name, quotes and escapes resolved
  std::size_t offset = 0;  // bytes from the start of the text
};

/// "&&" for conjunction and so on; empty for atom.
std::string_view sign_of(LabelTokenKind kind);

/// Error: invalid_input with the column of the first character that starts no token.
Result<std::vector<LabelToken>> tokenize_label(std::string_view text);

/// What is wrong at a byte offset, told by its column (characters, from 1).
Error label_syntax_error(std::string_view text, std::size_t offset, std::string_view what);

}  // namespace skep
