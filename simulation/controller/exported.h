// JSON as Jenkins' export library (stapler) writes it: properties have a visibility, `tree` or `depth` choose
// among them, `_class` comes first where the runtime type differs from the declared one. Rules: stapler
// TreePruner, NamedPathPruner, Property, Range; checked by recordings 02 and 04.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulation/controller/text.h"

namespace skep::controller_sim {

struct TreeNode {
  std::vector<std::pair<std::string, std::shared_ptr<TreeNode>>> children;
  std::int64_t first = 0;
  std::int64_t end = std::numeric_limits<std::int64_t>::max();
  const TreeNode* find(std::string_view name) const;
};

/// nullptr: malformed (Jenkins answers 500).
std::shared_ptr<TreeNode> parse_tree(std::string_view text);

/// Chooses properties: by tree when there is one, else by depth.
class Pruner {
 public:
  static Pruner by_tree(const TreeNode* tree) { return Pruner(tree, 0); }
  static Pruner by_depth(int depth) { return Pruner(nullptr, 1 - depth); }
  std::optional<Pruner> accept(std::string_view name, int visibility, bool inlined) const;
  std::int64_t first() const { return tree_ ? tree_->first : 0; }
  std::int64_t end() const { return tree_ ? tree_->end : std::numeric_limits<std::int64_t>::max(); }

 private:
  Pruner(const TreeNode* tree, int level) : tree_(tree), level_(level) {}
  const TreeNode* tree_;
  int level_;
};

struct Shape {
  int visibility = 1;
  bool inlined = false;
};

/// Writes one JSON object; the closing brace comes with the destructor. Nested objects are filled by
/// callables so that nothing is computed that nobody asked for.
class JsonObject {
 public:
  JsonObject(std::string& out, Pruner pruner, std::string_view class_name);
  ~JsonObject() { out_ += '}'; }
  JsonObject(const JsonObject&) = delete;
  JsonObject& operator=(const JsonObject&) = delete;

  bool wants(std::string_view name, int visibility = 1) const {
    return pruner_.accept(name, visibility, false).has_value();
  }
  void text(std::string_view name, std::string_view value, int visibility = 1);
  void text_or_null(std::string_view name, const std::optional<std::string>& value, int visibility = 1);
  void boolean(std::string_view name, bool value, int visibility = 1);
  void number(std::string_view name, std::int64_t value, int visibility = 1);
  void real(std::string_view name, double value, int visibility = 1);
  void null(std::string_view name, int visibility = 1);
  void empty_list(std::string_view name, int visibility = 1);

  template <typename Fill>
  void object(std::string_view name, Shape shape, std::string_view class_name, Fill fill) {
    if (const auto inner = begin(name, shape)) {
      JsonObject nested(out_, *inner, class_name);
      fill(nested);
    }
  }
  /// Written only when wanted; `make` returns the text.
  template <typename Make>
  void lazy_text(std::string_view name, Make make, int visibility = 1) {
    if (begin(name, {visibility})) {
      const std::optional<std::string> value = make();
      out_ += value ? json_quote(*value) : "null";
    }
  }
  /// class_of(i) -> string_view-like, fill(i, JsonObject&).
  template <typename ClassOf, typename Fill>
  void list(std::string_view name, Shape shape, std::size_t count, ClassOf class_of, Fill fill) {
    const auto inner = begin(name, shape);
    if (!inner) return;
    out_ += '[';
    bool any = false;
    for (std::size_t i = 0; i < count; ++i) {
      const auto position = static_cast<std::int64_t>(i);
      if (position < inner->first() || position >= inner->end()) continue;
      if (any) out_ += ',';
      any = true;
      const std::string class_name(class_of(i));
      JsonObject nested(out_, *inner, class_name);
      fill(i, nested);
    }
    out_ += ']';
  }
  void texts(std::string_view name, const std::vector<std::string>& values, int visibility = 1);
  /// A map: its keys are never pruned. `fill(JsonMap)` adds entries.
  template <typename Fill>
  void map(std::string_view name, Shape shape, Fill fill);

 private:
  friend class JsonMap;
  std::optional<Pruner> begin(std::string_view name, Shape shape);
  std::string& out_;
  Pruner pruner_;
  bool any_ = false;
};

class JsonMap {
 public:
  void null(std::string_view key) { begin(key) += "null"; }
  void text(std::string_view key, std::string_view value) { begin(key) += json_quote(value); }
  template <typename Fill>
  void object(std::string_view key, std::string_view class_name, Fill fill) {
    JsonObject nested(begin(key), pruner_, class_name);
    fill(nested);
  }

 private:
  friend class JsonObject;
  JsonMap(std::string& out, Pruner pruner) : out_(out), pruner_(pruner) {}
  std::string& begin(std::string_view key) {
    if (any_) out_ += ',';
    any_ = true;
    return out_ += json_quote(key) + ":";
  }
  std::string& out_;
  Pruner pruner_;
  bool any_ = false;
};

template <typename Fill>
void JsonObject::map(std::string_view name, Shape shape, Fill fill) {
  if (const auto inner = begin(name, shape)) {
    out_ += '{';
    JsonMap entries(out_, *inner);
    fill(entries);
    out_ += '}';
  }
}

}  // namespace skep::controller_sim
