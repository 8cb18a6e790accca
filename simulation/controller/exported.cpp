#include "simulation/controller/exported.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace skep::controller_sim {
namespace {

/// node := name [ '[' list ']' ] [ '{' range '}' ];  list := node { ',' node }
class TreeParser {
 public:
  explicit TreeParser(std::string_view text) : text_(text) {}

  std::shared_ptr<TreeNode> parse() {
    auto root = std::make_shared<TreeNode>();
    if (!parse_list(*root, 0) || position_ != text_.size()) return nullptr;
    return root;
  }

 private:
  static constexpr int max_nesting = 50;

  bool parse_list(TreeNode& parent, int nesting) {
    if (nesting > max_nesting) return false;
    do {
      const std::size_t start = position_;
      while (position_ < text_.size() &&
             std::string_view(",[]{}").find(text_[position_]) == std::string_view::npos)
        ++position_;
      if (position_ == start) return false;
      auto node = std::make_shared<TreeNode>();
      parent.children.emplace_back(std::string(text_.substr(start, position_ - start)), node);
      if (take('[')) {
        if (!parse_list(*node, nesting + 1) || !take(']')) return false;
      }
      if (take('{') && !parse_range(*node)) return false;
    } while (take(','));
    return true;
  }

  /// {M,N} half open, {M,}, {,N} = {0,N}, {N} = one element.
  bool parse_range(TreeNode& node) {
    const std::optional<std::int64_t> first = parse_number();
    if (take('}')) {
      if (!first) return false;
      node.first = *first;
      node.end = *first + 1;
      return true;
    }
    if (!take(',')) return false;
    node.first = first.value_or(0);
    if (const auto end = parse_number()) node.end = *end;
    return take('}');
  }

  std::optional<std::int64_t> parse_number() {
    std::int64_t value = 0;
    const char* begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || end == begin) return std::nullopt;
    position_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  bool take(char c) {
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

}  // namespace

const TreeNode* TreeNode::find(std::string_view name) const {
  const TreeNode* any = nullptr;
  for (const auto& [key, node] : children) {
    if (key == name) return node.get();
    if (key == "*") any = node.get();
  }
  return any;
}

std::shared_ptr<TreeNode> parse_tree(std::string_view text) {
  return TreeParser(text).parse();
}

std::optional<Pruner> Pruner::accept(std::string_view name, int visibility, bool inlined) const {
  if (tree_ != nullptr) {
    const TreeNode* child = tree_->find(name);
    if (child == nullptr) return std::nullopt;
    return Pruner(child, 0);
  }
  if (visibility < level_) return std::nullopt;
  return Pruner(nullptr, inlined ? level_ : level_ + 1);
}

JsonObject::JsonObject(std::string& out, Pruner pruner, std::string_view class_name)
    : out_(out), pruner_(pruner) {
  out_ += '{';
  if (!class_name.empty()) {
    out_ += "\"_class\":" + json_quote(class_name);
    any_ = true;
  }
}

std::optional<Pruner> JsonObject::begin(std::string_view name, Shape shape) {
  const auto inner = pruner_.accept(name, shape.visibility, shape.inlined);
  if (inner) {
    if (any_) out_ += ',';
    any_ = true;
    out_ += json_quote(name) + ":";
  }
  return inner;
}

void JsonObject::text(std::string_view name, std::string_view value, int visibility) {
  if (begin(name, {visibility})) out_ += json_quote(value);
}

void JsonObject::text_or_null(std::string_view name, const std::optional<std::string>& value,
                              int visibility) {
  if (begin(name, {visibility})) out_ += value ? json_quote(*value) : "null";
}

void JsonObject::boolean(std::string_view name, bool value, int visibility) {
  if (begin(name, {visibility})) out_ += value ? "true" : "false";
}

void JsonObject::number(std::string_view name, std::int64_t value, int visibility) {
  if (begin(name, {visibility})) out_ += std::to_string(value);
}

void JsonObject::real(std::string_view name, double value, int visibility) {
  if (!begin(name, {visibility})) return;
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.9g", value);
  std::string shown = buffer.data();
  if (shown.find_first_of(".e") == std::string::npos) shown += ".0";
  out_ += shown;
}

void JsonObject::null(std::string_view name, int visibility) {
  if (begin(name, {visibility})) out_ += "null";
}

void JsonObject::empty_list(std::string_view name, int visibility) {
  if (begin(name, {visibility})) out_ += "[]";
}

void JsonObject::texts(std::string_view name, const std::vector<std::string>& values, int visibility) {
  if (!begin(name, {visibility})) return;
  out_ += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out_ += ',';
    out_ += json_quote(values[i]);
  }
  out_ += ']';
}

}  // namespace skep::controller_sim
