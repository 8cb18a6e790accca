#include "scheduler/jenkins/companion.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "core/bounds.h"
#include "core/check.h"
#include "scheduler/jenkins/companion_scripts.h"

namespace skep::scheduler {
namespace {

constexpr std::string_view greeting = "skep-companion 1";
constexpr std::string_view absent = "skep-companion absent";
constexpr std::string_view wait_numbers = "from = 1L, millis = 30000L";
constexpr std::size_t max_boot_chars = 64;

Error misfit(const std::string& why, std::string_view text = {}) {
  std::string message = "the companion's answer: " + why;
  if (!text.empty())
    message += ": " + std::string(text.substr(0, std::min<std::size_t>(text.find('\n'), 160)));
  return Error::unknown(ErrorCode::malformed_reply, std::move(message), "the queue is taken anew");
}

/// The next line without its end, or nothing: what ends without a newline was cut.
std::optional<std::string_view> take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);  // println of a controller on Windows
  return line;
}

/// What stands before the next blank.
std::string_view take_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), word.size() + 1));
  return word;
}

template <typename Number>
std::optional<Number> number_of(std::string_view word) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || word.front() == '-') return std::nullopt;
  return value;
}

bool is_boot(std::string_view word) {
  const auto fits = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  };
  return !word.empty() && word.size() <= max_boot_chars && std::all_of(word.begin(), word.end(), fits);
}

struct Heading {
  std::string boot;
  std::vector<std::uint64_t> numbers;
  bool is_quieting_down = false;
};

/// "skep-companion 1 BOOT NUMBER...[ quiet]"
Result<Heading> take_heading(std::string_view& text, std::size_t numbers) {
  const std::string_view whole = text;
  const auto first = take_line(text);
  if (first == absent) {
    return Error::unknown(ErrorCode::not_found, "the companion is not installed on the controller",
                          "it is installed again");
  }
  if (!first || !first->starts_with(greeting)) return misfit("not one of its own", whole);
  std::string_view rest = first->substr(greeting.size());
  if (!rest.starts_with(' ')) return misfit("of another version", whole);
  rest.remove_prefix(1);
  Heading heading;
  const std::string_view boot = take_word(rest);
  if (!is_boot(boot)) return misfit("its first line is not understood", whole);
  heading.boot = boot;
  while (heading.numbers.size() < numbers) {
    const auto number = number_of<std::uint64_t>(take_word(rest));
    if (!number || *number == 0) return misfit("its first line is not understood", whole);
    heading.numbers.push_back(*number);
  }
  heading.is_quieting_down = rest == "quiet";
  const bool is_whole = heading.is_quieting_down ? first->ends_with(" quiet") : !first->ends_with(' ');
  if (!is_whole || (!rest.empty() && !heading.is_quieting_down))
    return misfit("its first line is not understood", whole);
  return heading;
}

constexpr std::array<std::pair<std::string_view, ItemStage>, 3> stages{
    {{"waiting", ItemStage::waiting}, {"blocked", ItemStage::blocked}, {"buildable", ItemStage::buildable}}};
constexpr std::array<std::pair<std::string_view, NodeNews::Kind>, 7> node_kinds{
    {{"online", NodeNews::Kind::online},
     {"offline", NodeNews::Kind::offline},
     {"opened", NodeNews::Kind::opened},
     {"closed", NodeNews::Kind::closed},
     {"accepted", NodeNews::Kind::accepted},
     {"completed", NodeNews::Kind::completed},
     {"continues", NodeNews::Kind::continues}}};

template <typename Table>
auto find_word(const Table& table, std::string_view word) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == word; });
  using Value = typename Table::value_type::second_type;
  return found == table.end() ? std::optional<Value>() : std::optional<Value>(found->second);
}

/// An event as it is applied: of an item (no stage: it left), or of a node.
struct Change {
  std::int64_t item = 0;  // 0: of a node
  std::optional<ItemStage> stage;
  std::string label;
  NodeNews node;
};

/// "NODE PATH". Names may hold blanks, but no slash; paths are encoded, so they hold no blank.
void split_path(std::string_view rest, NodeNews& news) {
  news.node = rest;
  const std::size_t blank = rest.rfind(' ');
  if (blank == std::string_view::npos) return;
  const std::string_view tail = rest.substr(blank + 1);
  if (!tail.empty() && tail.find('/') == std::string_view::npos) return;
  news.node = rest.substr(0, blank);
  const std::size_t job = tail.find("job/");
  if (job != std::string_view::npos) news.path = tail.substr(job);
}

/// Nothing for what cannot be.
std::optional<Change> change_of(std::string_view kind, std::string_view rest) {
  Change change;
  if (const auto node_kind = find_word(node_kinds, kind)) {
    change.node.kind = *node_kind;
    if (*node_kind == NodeNews::Kind::accepted || *node_kind == NodeNews::Kind::completed) {
      split_path(rest, change.node);
    } else {
      change.node.node = rest;
    }
    return change;
  }
  change.stage = find_word(stages, kind);
  if (!change.stage && kind != "left" && kind != "cancelled") return std::nullopt;
  const auto id = number_of<std::int64_t>(take_word(rest));
  if (!id || *id == 0 || rest.size() > bounds::max_label_text_bytes) return std::nullopt;
  change.item = *id;
  change.label = rest;
  return change;
}

/// What the companion does not tell of an item, from what a read told.
void take_facts(QueueItem& item, const QueueItem& read) {
  item.name = read.name;
  item.path = read.path;
  item.is_pipeline_block = read.is_pipeline_block;
  item.is_flow = read.is_flow;
  item.in_queue_since = read.in_queue_since;
  item.quiet_until = read.quiet_until;
  item.why = read.why;
  if (item.stage == ItemStage::buildable && read.buildable_since) item.buildable_since = read.buildable_since;
}

bool is_offered(const QueueItem& item) {
  return item.stage == ItemStage::buildable || item.stage == ItemStage::pending;
}

}  // namespace

std::string companion_install_script() {
  return std::string(companion_install_text());
}

std::string companion_wait_script(std::uint64_t from, Duration wait) {
  std::string script(companion_wait_text());
  const std::size_t at = script.find(wait_numbers);
  SKEP_ASSERT(at != std::string::npos);
  const std::int64_t millis = std::max<std::int64_t>(0, to_ms(wait));
  script.replace(at, wait_numbers.size(),
                 "from = " + std::to_string(from) + "L, millis = " + std::to_string(millis) + "L");
  return script;
}

std::string companion_remove_script() {
  return std::string(companion_remove_text());
}

Result<CompanionBase> read_companion_base(std::string_view text) {
  const std::string_view whole = text;
  auto heading = take_heading(text, 1);
  if (!heading) return heading.error();
  CompanionBase base;
  base.boot = std::move(heading->boot);
  base.next = heading->numbers[0];
  base.is_quieting_down = heading->is_quieting_down;
  std::set<std::int64_t> ids;
  while (auto line = take_line(text)) {
    const std::string_view shown = *line;
    const std::string_view first = take_word(*line);
    if (first == "end") {
      const auto count = number_of<std::size_t>(*line);
      if (!count || *count != base.items.size() || !text.empty())
        return misfit("its end does not fit its " + std::to_string(base.items.size()) + " items", shown);
      return base;
    }
    const auto id = number_of<std::int64_t>(first);
    const auto stage = find_word(stages, take_word(*line));
    const bool is_item = id && *id > 0 && stage && line->size() <= bounds::max_label_text_bytes;
    if (!is_item) return misfit("an item is not understood", shown);
    if (!ids.insert(*id).second) return misfit("an item twice", shown);
    if (base.items.size() == bounds::max_queue_items) return misfit("too many items");
    base.items.push_back({*id, *stage, std::string(*line)});
  }
  return misfit("it was cut", whole);
}

Result<CompanionNews> read_companion_news(std::string_view text) {
  const std::string_view whole = text;
  auto heading = take_heading(text, 2);
  if (!heading) return heading.error();
  CompanionNews news;
  news.boot = std::move(heading->boot);
  news.first = heading->numbers[0];
  news.next = heading->numbers[1];
  news.is_quieting_down = heading->is_quieting_down;
  if (news.first > news.next) return misfit("its numbers do not fit", whole);
  while (auto line = take_line(text)) {
    const std::string_view shown = *line;
    CompanionNews::Event event;
    const auto number = number_of<std::uint64_t>(take_word(*line));
    event.kind = take_word(*line);
    event.rest = *line;
    if (!number || !change_of(event.kind, event.rest)) return misfit("an event is not understood", shown);
    event.number = *number;
    const bool is_next =
        news.events.empty() ? event.number >= news.first : event.number == news.events.back().number + 1;
    if (!is_next) return misfit("an event out of turn", shown);
    if (news.events.size() == bounds::max_companion_events) return misfit("too many events");
    news.events.push_back(std::move(event));
  }
  const bool is_cut = !text.empty() || (!news.events.empty() && news.events.back().number + 1 != news.next);
  if (is_cut) return misfit("it was cut", whole);
  return news;
}

void CompanionBook::begin(CompanionBase base, WallTime now) {
  boot_ = std::move(base.boot);
  next_ = base.next;
  is_quieting_down_ = base.is_quieting_down;
  std::map<std::int64_t, QueueItem> former = std::exchange(items_, {});
  for (CompanionBase::Item& told : base.items) {
    if (const auto known = former.find(told.id); known != former.end())
      items_.emplace(told.id, std::move(known->second));
    set_stage(told.id, told.stage, std::move(told.label), now);
  }
}

void CompanionBook::set_stage(std::int64_t id, ItemStage stage, std::string label, WallTime now) {
  const auto [entry, is_new] = items_.try_emplace(id);
  QueueItem& item = entry->second;
  if (is_new) {
    item.id = id;
    item.name = "item " + std::to_string(id);
    item.in_queue_since = now;
  }
  const bool becomes_buildable =
      stage == ItemStage::buildable && (is_new || item.stage != ItemStage::buildable);
  item.stage = stage;
  item.label = std::move(label);
  item.label_source = LabelSource::script;
  if (becomes_buildable && !item.buildable_since) item.buildable_since = now;
  if (!is_new) return;
  if (const auto read = read_.find(id); read != read_.end()) take_facts(item, read->second);
}

Result<std::vector<NodeNews>> CompanionBook::apply(const CompanionNews& news, WallTime now) {
  if (boot_.empty() || news.boot != boot_) return misfit("of another installation than the base");
  if (news.first > next_)
    return misfit("events from " + std::to_string(next_) + " on are lost, it has them from " +
                  std::to_string(news.first) + " on");
  if (news.next < next_)
    return misfit("its numbers went back from " + std::to_string(next_) + " to " + std::to_string(news.next));
  std::vector<Change> changes;
  std::uint64_t expected = next_;
  for (const CompanionNews::Event& event : news.events) {
    if (event.number < next_) continue;
    auto change = change_of(event.kind, event.rest);
    if (!change || event.number != expected)
      return misfit("event " + std::to_string(event.number) + " (" + event.kind + ") does not fit");
    ++expected;
    changes.push_back(std::move(*change));
  }
  if (expected != news.next) return misfit("events from " + std::to_string(expected) + " on are missing");
  std::vector<NodeNews> nodes;
  for (Change& change : changes) {
    if (change.item == 0) {
      if (!change.node.node.empty()) nodes.push_back(std::move(change.node));
    } else if (change.stage) {
      set_stage(change.item, *change.stage, std::move(change.label), now);
    } else {
      items_.erase(change.item);
    }
  }
  next_ = news.next;
  is_quieting_down_ = news.is_quieting_down;
  return nodes;
}

void CompanionBook::note_read(const QueueSnapshot& read) {
  read_.clear();
  bool says_quiet = false;  // a queue in which nothing could run says nothing about it
  for (const QueueItem& item : read.items) {
    read_.emplace(item.id, item);
    says_quiet = says_quiet || is_offered(item);
    if (const auto known = items_.find(item.id); known != items_.end()) take_facts(known->second, item);
  }
  if (says_quiet) is_quieting_down_ = read.is_quieting_down;
}

void CompanionBook::forget_items() {
  boot_.clear();  // what is under way still fits nothing
  items_.clear();
  read_.clear();
}

QueueSnapshot CompanionBook::queue() const {
  QueueSnapshot snapshot;
  snapshot.is_quieting_down = is_quieting_down_;
  snapshot.items.reserve(items_.size());
  for (const auto& [id, item] : items_) {
    QueueItem& shown = snapshot.items.emplace_back(item);
    shown.is_stopping = is_quieting_down_ && is_offered(shown);
    if (shown.stage != ItemStage::waiting) shown.quiet_until.reset();
  }
  return snapshot;
}

CompanionTalk::Question CompanionTalk::next_question(Duration wait) const {
  if (needs_base()) return {companion_install_script(), base_to_ask_for()};
  return {companion_wait_script(book_.next(), wait), 0};
}

Result<CompanionAnswer> CompanionTalk::note_answer(const Question& asked, std::string_view text,
                                                   WallTime now) {
  if (asked.base != 0) {
    auto base = read_companion_base(text);
    if (!base) return base.error();
    book_.begin(std::move(*base), now);
    bases_taken_ = asked.base;
    return CompanionAnswer{book_.queue(), {}, true, 0};
  }
  const auto news = read_companion_news(text);
  const std::uint64_t before = book_.next();
  auto nodes = news ? book_.apply(*news, now) : Result<std::vector<NodeNews>>(news.error());
  if (!nodes) {
    rebase();
    return nodes.error();
  }
  return CompanionAnswer{book_.queue(), std::move(*nodes), false, book_.next() - before};
}

void CompanionTalk::forget_session() {
  book_.forget_items();
  rebase();
}

}  // namespace skep::scheduler
