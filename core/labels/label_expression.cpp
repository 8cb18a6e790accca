#include "core/labels/label_expression.h"

#include <algorithm>
#include <optional>

#include "core/bounds.h"
#include "core/labels/quoted_text.h"

namespace skep {

enum class Operator { atom, negation, conjunction, disjunction, implication, equivalence };  // tightest first

struct LabelExpression::Node {
  Operator op = Operator::atom;
  bool is_in_parentheses = false;
  std::string atom;        // op == atom: the label's name
  std::shared_ptr<const Node> left, right;
};

namespace {

using NodePtr = std::shared_ptr<const LabelExpression::Node>;

enum class TokenKind { atom, text, negation, conjunction, disjunction, implication, equivalence, open, close, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;
  std::size_t column = 0;  // 1-based, in bytes
};

Error syntax_error(std::size_t column, const std::string& what) {
  return Error::failed(ErrorCode::invalid_input, what + " at column " + std::to_string(column));
}

bool is_atom_char(std::string_view text, std::size_t i) {
  const char c = text[i];
  if (c == '-') return i + 1 >= text.size() || text[i + 1] != '>';
  return std::string_view("&|!<>() \t\"'").find(c) == std::string_view::npos;
}

/// Length of the string literal that starts at `start`, quotes included; 0 when it is not well formed.
std::size_t literal_length(std::string_view text, std::size_t start) {
  for (std::size_t i = start + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') return i + 1 - start;
    if (c == '\r' || c == '\n') return 0;
    if (c != '\\') continue;
    ++i;
    if (i >= text.size() || std::string_view("btnfr\"'\\").find(text[i]) == std::string_view::npos) return 0;
  }
  return 0;
}

Result<std::vector<Token>> tokenize(std::string_view text) {
  struct Sign {
    std::string_view text;
    TokenKind kind;
  };
  constexpr Sign signs[] = {{"<->", TokenKind::equivalence}, {"->", TokenKind::implication}, {"&&", TokenKind::conjunction},
                            {"||", TokenKind::disjunction},  {"!", TokenKind::negation},     {"(", TokenKind::open},
                            {")", TokenKind::close}};
  std::vector<Token> tokens;
  std::size_t i = 0;
  while (i < text.size()) {
    if (text[i] == ' ' || text[i] == '\t') {
      ++i;
      continue;
    }
    Token token;
    token.column = i + 1;
    const auto sign = std::find_if(std::begin(signs), std::end(signs), [&](const Sign& s) { return text.substr(i, s.text.size()) == s.text; });
    if (sign != std::end(signs)) {
      token.kind = sign->kind;
      i += sign->text.size();
    } else if (text[i] == '"') {
      const std::size_t length = literal_length(text, i);
      if (length == 0) return syntax_error(i + 1, "a quoted text that is not closed or has an unknown escape");
      token.kind = TokenKind::text;
      token.text = unquote(text.substr(i, length));
      i += length;
    } else {
      std::size_t end = i;
      while (end < text.size() && is_atom_char(text, end)) ++end;
      if (end == i) return syntax_error(i + 1, std::string("unexpected character '") + text[i] + "'");
      token.kind = TokenKind::atom;
      token.text = std::string(text.substr(i, end - i));
      i = end;
    }
    tokens.push_back(std::move(token));
  }
  tokens.push_back({TokenKind::end, "", text.size() + 1});
  return tokens;
}

/// Recursive descent by precedence; depth is bounded, so hostile nesting ends in an error and not in the stack.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<NodePtr> parse() {
    auto root = equivalence(0);
    if (!root) return root;
    if (peek().kind != TokenKind::end) return syntax_error(peek().column, "unexpected text after the expression");
    return root;
  }

 private:
  using Level = Result<NodePtr> (Parser::*)(int);

  const Token& peek() const { return tokens_[position_]; }
  bool take(TokenKind kind) {
    if (peek().kind != kind) return false;
    ++position_;
    return true;
  }
  static NodePtr make(Operator op, NodePtr left, NodePtr right) {
    auto node = std::make_shared<LabelExpression::Node>();
    node->op = op;
    node->left = std::move(left);
    node->right = std::move(right);
    return node;
  }
  Result<NodePtr> chain(int depth, TokenKind sign, Operator op, Level next) {
    auto left = (this->*next)(depth);
    while (left && take(sign)) {
      auto right = (this->*next)(depth);
      if (!right) return right;
      left = make(op, std::move(*left), std::move(*right));
    }
    return left;
  }
  Result<NodePtr> equivalence(int depth) { return chain(depth, TokenKind::equivalence, Operator::equivalence, &Parser::implication); }
  Result<NodePtr> implication(int depth) {
    auto left = disjunction(depth);
    if (!left || !take(TokenKind::implication)) return left;
    auto right = disjunction(depth);
    if (!right) return right;
    return make(Operator::implication, std::move(*left), std::move(*right));
  }
  Result<NodePtr> disjunction(int depth) { return chain(depth, TokenKind::disjunction, Operator::disjunction, &Parser::conjunction); }
  Result<NodePtr> conjunction(int depth) { return chain(depth, TokenKind::conjunction, Operator::conjunction, &Parser::negation); }
  Result<NodePtr> negation(int depth) {
    if (!take(TokenKind::negation)) return primary(depth);
    auto base = primary(depth);
    if (!base) return base;
    return make(Operator::negation, std::move(*base), nullptr);
  }
  Result<NodePtr> primary(int depth) {
    const Token token = peek();
    if (take(TokenKind::open)) {
      if (depth >= bounds::max_label_depth) return syntax_error(token.column, "nested too deeply");
      auto inner = equivalence(depth + 1);
      if (!inner) return inner;
      if (!take(TokenKind::close)) return syntax_error(peek().column, "a missing ')'");
      auto node = std::make_shared<LabelExpression::Node>(**inner);
      if (!node->is_in_parentheses) {
        node->is_in_parentheses = true;
        return NodePtr(std::move(node));
      }
      // ((a)): each pair is kept when printed, so the outer one needs a node of its own.
      auto outer = std::make_shared<LabelExpression::Node>();
      outer->op = Operator::atom;
      outer->is_in_parentheses = true;
      outer->left = std::move(*inner);
      return NodePtr(std::move(outer));
    }
    if (take(TokenKind::atom) || take(TokenKind::text)) {
      auto node = std::make_shared<LabelExpression::Node>();
      node->atom = token.text;
      return NodePtr(std::move(node));
    }
    return syntax_error(token.column, token.kind == TokenKind::end ? "the expression ends too early" : "an operator where a label is needed");
  }

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
};

bool evaluate(const LabelExpression::Node& node, const LabelSet& labels) {
  switch (node.op) {
    case Operator::atom: return node.left ? evaluate(*node.left, labels) : labels.find(node.atom) != labels.end();
    case Operator::negation: return !evaluate(*node.left, labels);
    case Operator::conjunction: return evaluate(*node.left, labels) && evaluate(*node.right, labels);
    case Operator::disjunction: return evaluate(*node.left, labels) || evaluate(*node.right, labels);
    case Operator::implication: return !evaluate(*node.left, labels) || evaluate(*node.right, labels);
    case Operator::equivalence: return evaluate(*node.left, labels) == evaluate(*node.right, labels);
  }
  return false;
}

std::string print(const LabelExpression::Node& node);

/// An operand that binds looser than its operator stands in parentheses; explicit ones bind like atoms.
std::string print_operand(Operator op, const LabelExpression::Node& node) {
  const bool is_looser = !node.is_in_parentheses && op < node.op;
  return is_looser ? "(" + print(node) + ")" : print(node);
}

std::string print(const LabelExpression::Node& node) {
  const auto binary = [&](const char* sign) { return print_operand(node.op, *node.left) + sign + print_operand(node.op, *node.right); };
  std::string out;
  switch (node.op) {
    case Operator::atom: out = node.left ? print(*node.left) : escape_label(node.atom); break;
    case Operator::negation: out = "!" + print_operand(node.op, *node.left); break;
    case Operator::conjunction: out = binary("&&"); break;
    case Operator::disjunction: out = binary("||"); break;
    case Operator::implication: out = binary("->"); break;
    case Operator::equivalence: out = binary("<->"); break;
  }
  return node.is_in_parentheses ? "(" + out + ")" : out;
}

void collect_atoms(const LabelExpression::Node& node, std::vector<std::string>& out) {
  if (node.left) collect_atoms(*node.left, out);
  if (node.right) collect_atoms(*node.right, out);
  if (node.op == Operator::atom && !node.left && std::find(out.begin(), out.end(), node.atom) == out.end()) out.push_back(node.atom);
}

}  // namespace

LabelExpression::LabelExpression(std::shared_ptr<const Node> root, std::string name, std::string expression, bool is_atom)
    : root_(std::move(root)), name_(std::move(name)), expression_(std::move(expression)), is_atom_(is_atom) {}

Result<LabelExpression> LabelExpression::parse(std::string_view text) {
  if (text.size() > bounds::max_label_text_bytes) return Error::failed(ErrorCode::invalid_input, "a label text that is too long");
  auto tokens = tokenize(text);
  if (!tokens) return tokens.error();
  // Long chains make deep left-leaning trees: the bound holds for them too.
  if (tokens->size() > 4096) return Error::failed(ErrorCode::invalid_input, "a label text with too many parts");
  auto root = Parser(std::move(*tokens)).parse();
  if (!root) return root.error();
  const bool is_atom = (*root)->op == Operator::atom && !(*root)->is_in_parentheses;
  std::string expression = print(**root);
  std::string name = is_atom ? (*root)->atom : expression;
  return LabelExpression(std::move(*root), std::move(name), std::move(expression), is_atom);
}

LabelExpression LabelExpression::from_job(std::string_view text) {
  const std::string plain = unquote(text);
  if (auto parsed = parse(plain)) return *std::move(parsed);
  auto node = std::make_shared<Node>();
  node->atom = plain;
  return LabelExpression(std::move(node), plain, escape_label(plain), true);
}

bool LabelExpression::matches(const LabelSet& labels) const { return evaluate(*root_, labels); }

std::vector<std::string> LabelExpression::atoms() const {
  std::vector<std::string> out;
  collect_atoms(*root_, out);
  return out;
}

LabelSet parse_label_set(std::string_view text) {
  LabelSet labels;
  for (std::string& token : split_quoted(text)) labels.insert(std::move(token));
  return labels;
}

bool is_any_node_text(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace skep
