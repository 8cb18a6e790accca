#include "core/labels/label_expression.h"

#include <array>
#include <map>
#include <optional>

#include "core/bounds.h"
#include "core/labels/label_tokens.h"
#include "core/labels/quoted_text.h"

namespace skep {

using Kind = LabelTokenKind;

/// One step: push the truth of atoms[atom], or replace the operands on top of the stack by the operator's
/// value.
struct LabelStep {
  Kind kind = Kind::atom;
  std::size_t atom = 0;
};

struct LabelExpression::Program {
  std::vector<std::string> atoms;  // in order of first occurrence, each once
  std::vector<LabelStep> steps;
  std::size_t most_values = 0;  // how high the stack of values grows
};

namespace {

/// Larger binds tighter.
int tightness(Kind kind) {
  switch (kind) {
    case Kind::negation:
      return 5;
    case Kind::conjunction:
      return 4;
    case Kind::disjunction:
      return 3;
    case Kind::implication:
      return 2;
    case Kind::equivalence:
      return 1;
    case Kind::atom:
    case Kind::open:
    case Kind::close:
      break;
  }
  return 0;
}

/// Operator precedence with a stack of waiting operators: it takes what the grammar of the header takes,
/// without recursion.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<LabelExpression::Program> parse(const std::vector<LabelToken>& tokens) {
    for (const LabelToken& token : tokens) {
      auto error = wants_operand_ ? take_operand(token) : take_operator(token);
      if (error) return *std::move(error);
    }
    if (wants_operand_) return wrong(text_.size(), "a label is missing");
    apply_down_to(1);
    if (!waiting_.empty()) return wrong(waiting_.back().offset, "a ( that is not closed");
    return std::move(program_);
  }

 private:
  struct Waiting {
    Kind kind = Kind::open;
    std::size_t offset = 0;
  };

  Error wrong(std::size_t offset, std::string_view what) const {
    return label_syntax_error(text_, offset, what);
  }

  std::optional<Error> take_operand(const LabelToken& token) {
    switch (token.kind) {
      case Kind::atom:
        push_atom(token.label);
        end_primary();
        return std::nullopt;
      case Kind::negation:
        if (is_top(Kind::negation)) return wrong(token.offset, "a second ! (write !(!a))");
        waiting_.push_back({token.kind, token.offset});
        return std::nullopt;
      case Kind::open:
        if (++depth_ > bounds::max_label_depth) return wrong(token.offset, "a ( that is nested too deeply");
        waiting_.push_back({token.kind, token.offset});
        return std::nullopt;
      default:
        return wrong(token.offset, "a label is missing before " + std::string(sign_of(token.kind)));
    }
  }

  std::optional<Error> take_operator(const LabelToken& token) {
    switch (token.kind) {
      case Kind::close:
        apply_down_to(1);
        if (waiting_.empty()) return wrong(token.offset, "a ) without its (");
        waiting_.pop_back();
        --depth_;
        end_primary();
        return std::nullopt;
      case Kind::atom:
      case Kind::negation:
      case Kind::open:
        return wrong(token.offset, "an operator such as && is missing before this");
      default:
        break;
    }
    const int mine = tightness(token.kind);
    // (a->b)->c is not a->(b->c), so Jenkins takes one arrow only.
    apply_down_to(token.kind == Kind::implication ? mine + 1 : mine);
    if (token.kind == Kind::implication && is_top(Kind::implication)) {
      return wrong(token.offset, "a second -> (use parentheses)");
    }
    waiting_.push_back({token.kind, token.offset});
    wants_operand_ = true;
    return std::nullopt;
  }

  bool is_top(Kind kind) const { return !waiting_.empty() && waiting_.back().kind == kind; }

  /// Operators of one level apply from left to right, so the waiting ones that bind as tightly come first.
  void apply_down_to(int least) {
    while (!waiting_.empty() && tightness(waiting_.back().kind) >= least) {
      if (waiting_.back().kind != Kind::negation) --values_;
      program_.steps.push_back({waiting_.back().kind, 0});
      waiting_.pop_back();
    }
  }

  void end_primary() {
    apply_down_to(tightness(Kind::negation));
    wants_operand_ = false;
  }

  void push_atom(const std::string& label) {
    const auto [entry, is_new] = index_.emplace(label, program_.atoms.size());
    if (is_new) program_.atoms.push_back(label);
    program_.steps.push_back({Kind::atom, entry->second});
    if (++values_ > program_.most_values) program_.most_values = values_;
  }

  std::string_view text_;
  LabelExpression::Program program_;
  std::map<std::string, std::size_t> index_;
  std::vector<Waiting> waiting_;
  std::size_t values_ = 0;
  int depth_ = 0;
  bool wants_operand_ = true;
};

/// The grammar keeps every pair of parentheses and never needs another, so the tokens themselves are the
/// printed form.
std::string print(const std::vector<LabelToken>& tokens) {
  std::string out;
  for (const LabelToken& token : tokens) {
    if (token.kind == Kind::atom) {
      out += escape_label(token.label);
    } else {
      out += sign_of(token.kind);
    }
  }
  return out;
}

bool value_of(Kind kind, bool left, bool right) {
  switch (kind) {
    case Kind::conjunction:
      return left && right;
    case Kind::disjunction:
      return left || right;
    case Kind::implication:
      return !left || right;
    default:
      return left == right;
  }
}

}  // namespace

LabelExpression::LabelExpression(std::shared_ptr<const Program> program, std::string name,
                                 std::string expression, bool is_atom)
    : program_(std::move(program)),
      name_(std::move(name)),
      expression_(std::move(expression)),
      is_atom_(is_atom) {}

Result<LabelExpression> LabelExpression::parse(std::string_view text) {
  if (text.size() > bounds::max_label_text_bytes) {
    return Error::failed(ErrorCode::invalid_input,
                         "a label text of " + std::to_string(text.size()) + " bytes is too long, " +
                             std::to_string(bounds::max_label_text_bytes) + " are allowed");
  }
  auto tokens = tokenize_label(text);
  if (!tokens) return tokens.error();
  auto program = Parser(text).parse(*tokens);
  if (!program) return program.error();
  if (tokens->size() == 1) return single(std::move(tokens->front().label));
  std::string printed = print(*tokens);
  return LabelExpression(std::make_shared<const Program>(*std::move(program)), printed, printed, false);
}

LabelExpression LabelExpression::single(std::string label) {
  auto program = std::make_shared<Program>();
  program->atoms.push_back(label);
  program->steps.push_back({Kind::atom, 0});
  program->most_values = 1;
  std::string expression = escape_label(label);
  return LabelExpression(std::move(program), std::move(label), std::move(expression), true);
}

LabelExpression LabelExpression::from_job(std::string_view text) {
  std::string plain = unquote(text);
  if (auto parsed = parse(plain)) return *std::move(parsed);
  return single(std::move(plain));
}

bool LabelExpression::matches(const LabelSet& labels) const {
  const auto has = [&](std::size_t atom) { return labels.find(program_->atoms[atom]) != labels.end(); };
  // Nearly every expression fits on the stack; the rest is rare enough to allocate.
  std::array<char, 32> few{};
  std::vector<char> many;
  char* values = few.data();
  if (program_->most_values > few.size()) {
    many.resize(program_->most_values);
    values = many.data();
  }
  std::size_t height = 0;
  for (const LabelStep& step : program_->steps) {
    if (step.kind == Kind::atom) {
      values[height++] = has(step.atom) ? 1 : 0;
    } else if (step.kind == Kind::negation) {
      values[height - 1] = values[height - 1] != 0 ? 0 : 1;
    } else {
      --height;
      values[height - 1] = value_of(step.kind, values[height - 1] != 0, values[height] != 0) ? 1 : 0;
    }
  }
  SKEP_ASSERT(height == 1);
  return values[0] != 0;
}

std::vector<std::string> LabelExpression::atoms() const {
  return program_->atoms;
}

LabelSet parse_label_set(std::string_view text) {
  LabelSet labels;
  for (std::string& token : split_quoted(text)) labels.insert(std::move(token));
  return labels;
}

bool is_any_node_text(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) > 0x20) return false;
  }
  return true;
}

}  // namespace skep
