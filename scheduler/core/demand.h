// Demand: what the queues ask for. Items with the same normalised label form a class; a class is matched with
// the templates once. Changes are applied one by one, so the cost follows the changes and not the length of
// the queue. Pure. Semantics of labels: core/labels.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"
#include "scheduler/core/config.h"
#include "scheduler/core/facts.h"

namespace skep::scheduler {

/// One demand class of one controller.
struct DemandClass {
  std::string key;                            // in DemandBook::classes()
  std::string name;                           // normalised label; "" = any node
  std::optional<LabelExpression> expression;  // nullopt for any node, and with `like`
  std::optional<TemplateName> like;           // the label is hidden, but nodes of this template satisfy it
  std::vector<std::size_t> templates;         // that satisfy it, best first: fewest labels, then name
  struct Ref {
    std::int64_t order_ms;  // buildable: since when in the queue; waiting: when its quiet period ends
    std::int64_t id;
    friend auto operator<=>(const Ref&, const Ref&) = default;
  };
  std::vector<Ref> buildable;  // oldest first
  std::vector<Ref> waiting;    // in their quiet period, soonest first
};

/// The templates' labels as a node of theirs has them.
class TemplateIndex {
 public:
  void reset(const std::vector<std::shared_ptr<const Template>>& templates);
  /// Templates of this controller whose nodes satisfy the expression (nullptr: any node), best first.
  std::vector<std::size_t> matching(const LabelExpression* expression, const ControllerId& controller) const;
  /// This template alone, if it serves the controller.
  std::vector<std::size_t> named(const TemplateName& name, const ControllerId& controller) const;

 private:
  struct Entry {
    LabelSet labels;
    std::shared_ptr<const Template> value;
  };
  std::vector<Entry> entries_;
  std::vector<std::size_t> order_;
};

bool serves(const Template& value, const ControllerId& controller);

class DemandBook {
 public:
  enum class Kind {
    none,        // asks for nothing now: blocked, pending, stopping, quieted down
    unresolved,  // its label could not be learned
    classed,     // member of a class, buildable or in its quiet period
  };
  struct Entry {
    QueueItem item;
    Kind kind = Kind::none;
    DemandClass* demand_class = nullptr;  // set for every item whose label is known
    Instant buildable_seen{};             // first read that showed it buildable
    std::optional<TemplateName> like;     // see DemandClass::like; kept, since an item's label never changes
  };

  explicit DemandBook(ControllerId controller) : controller_(std::move(controller)) {}
  DemandBook(const DemandBook&) = delete;
  DemandBook& operator=(const DemandBook&) = delete;

  /// Replaces everything by one snapshot. True when anything changed.
  bool update(const QueueSnapshot& snapshot, const TemplateIndex& templates, Instant now);
  void upsert(const QueueItem& item, const TemplateIndex& templates, Instant now);
  void erase(std::int64_t id);
  /// Items whose label is hidden behind the name of the one node that satisfies it.
  std::vector<const Entry*> hidden() const;
  /// Such an item is demand for executors like that node.
  void resolve_like(std::int64_t id, const TemplateName& name, const TemplateIndex& templates, Instant now);
  /// After a change of configuration: match every class again.
  void rematch(const TemplateIndex& templates);

  /// How long an item counts as one that was just seen to be buildable.
  static constexpr Duration recent_for = seconds(7);
  /// Buildable members of classes that were first seen so not longer ago; ordered by class key, then oldest
  /// first.
  std::vector<const Entry*> recent(Instant now);

  const Entry* find(std::int64_t id) const;
  const std::map<std::int64_t, Entry>& items() const { return items_; }
  /// By quoted label expression; classes without members stay until `drop_empty_classes`.
  std::map<std::string, DemandClass>& classes() { return classes_; }
  const std::map<std::string, DemandClass>& classes() const { return classes_; }
  void drop_empty_classes();
  bool is_quieting_down() const { return is_quieting_down_; }
  /// Live items whose label is exactly `name`: a node's own name.
  std::optional<std::int64_t> item_for_node(const std::string& name) const;
  /// A block that only this node can serve; its label is not known.
  bool hidden_block_for(const std::string& node) const;
  /// The same, of one of these builds.
  bool hidden_block_for(const std::string& node, const std::vector<std::string>& builds) const;
  std::size_t classed_items() const { return classed_items_; }

 private:
  DemandClass& class_of(const std::string& label, const TemplateIndex& templates);
  DemandClass& class_like(const TemplateName& name, const TemplateIndex& templates);
  void match(DemandClass& demand_class, const TemplateIndex& templates) const;
  void join(Entry& entry, const TemplateIndex& templates, Instant now);
  void leave(Entry& entry);
  void forget_arrivals(Instant now);

  ControllerId controller_;
  bool is_quieting_down_ = false;
  std::map<std::int64_t, Entry> items_;
  std::map<std::string, DemandClass> classes_;
  std::map<std::string, DemandClass*> names_;              // by label text: parsed once
  std::deque<std::pair<Instant, std::int64_t>> arrivals_;  // buildable_seen, item; in this order
  std::size_t classed_items_ = 0;
};

}  // namespace skep::scheduler
