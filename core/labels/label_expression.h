// Jenkins' label expression language: parse, evaluate, print as Jenkins prints.
//
// Grammar and semantics: jenkins core LabelExpressionLexer.g4 / LabelExpressionParser.g4, LabelAtom,
// LabelExpression, Jenkins.getLabel; checked against 429 texts that a real controller evaluated
// (tests/recordings/label-expressions.json). Precedence, tightest first: ( ) / atom / "string"  >  !  >  &&
// >  ||  >  ->  >  <->.
//
// Pure and thread-compatible; input length is bounded by bounds::max_label_text_bytes, nesting by
// bounds::max_label_depth (a text beyond them counts as unparsable, as one atom). Nothing recurses, so
// neither long nor deep texts cost stack; reading one takes time in proportion to its length, but for the set
// of its atoms.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace skep {

/// The labels that a node is assigned: its configured labels, "swarm", and its own name (self label).
using LabelSet = std::set<std::string, std::less<>>;

/// Splits a node's label string as Jenkins does (Label.parse, QuotedStringTokenizer): blank separated, quotes
/// group. Left out on purpose: a string that is already the name of a label with blanks stays whole in
/// Jenkins, which depends on what that controller was asked before.
LabelSet parse_label_set(std::string_view text);

class LabelExpression {
 public:
  /// Strict: only texts that Jenkins' grammar accepts. Error: invalid_input with the column (characters, from
  /// 1).
  static Result<LabelExpression> parse(std::string_view text);

  /// As Jenkins.getLabel(): unquotes first; a text that does not parse becomes ONE atom with the complete
  /// text. The two differ for a text that begins and ends with a quote: "a b"||"c" is valid, but a job gets
  /// the atom a b"||"c. An empty (or blank) text means "any node" and must be handled by the caller
  /// beforehand: see is_any_node_text.
  static LabelExpression from_job(std::string_view text);

  bool matches(const LabelSet& labels) const;

  /// Label.getName(): atoms bare at top level ("a b"), expressions normalised without blanks (`"a b"&&c`).
  const std::string& name() const { return name_; }
  /// Label.getExpression(): like name, but an atom that needs it is quoted (`"a b"`).
  const std::string& expression() const { return expression_; }
  bool is_atom() const { return is_atom_; }
  /// Every atom that occurs, once, in order of first occurrence (for "which label is missing" explanations).
  std::vector<std::string> atoms() const;

  struct Program;  // private: the operators in postfix order

 private:
  LabelExpression(std::shared_ptr<const Program> program, std::string name, std::string expression,
                  bool is_atom);
  static LabelExpression single(std::string label);
  std::shared_ptr<const Program> program_;  // immutable, so copies may share it
  std::string name_;
  std::string expression_;
  bool is_atom_ = false;
};

/// True for null/empty/blank label texts: such an item may run on any node in mode NORMAL. Blank is what
/// Java's trim() takes away (U+0000..U+0020), as Jenkins applies it to what is typed into a job or given to
/// node().
bool is_any_node_text(std::string_view text);

}  // namespace skep
