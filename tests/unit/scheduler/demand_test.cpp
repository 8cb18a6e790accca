// What the queue asks for.
#include "scheduler/core/demand.h"

#include <catch2/catch.hpp>

namespace skep::scheduler::demand_test {
namespace {

constexpr Instant at(int s) {
  return Instant{} + seconds(s);
}

std::shared_ptr<const Template> make_template(const std::string& name,
                                              std::initializer_list<const char*> labels) {
  auto made = std::make_shared<Template>();
  made->name = TemplateName(name);
  for (const char* label : labels) made->labels.insert(label);
  return made;
}

QueueItem item(std::int64_t id, std::optional<std::string> label, ItemStage stage = ItemStage::buildable) {
  QueueItem out;
  out.id = id;
  out.stage = stage;
  out.label_source = label ? LabelSource::label_expression : LabelSource::unresolved;
  out.label = std::move(label);
  out.in_queue_since.ms_since_epoch = 1000 + id;
  if (stage == ItemStage::waiting) out.quiet_until = WallTime{9000 - id};
  return out;
}

struct Book {
  Book() {
    auto any = std::make_shared<Template>(*make_template("any", {"tools"}));
    any->takes_unlabelled = true;
    auto elsewhere = std::make_shared<Template>(*make_template("elsewhere", {"linux"}));
    elsewhere->controllers = {ControllerId("other")};
    index.reset({make_template("big", {"linux", "big"}), make_template("small", {"linux"}), any, elsewhere});
  }
  bool read(std::vector<QueueItem> items, Instant now = at(1), bool is_quieting_down = false) {
    return book.update({std::move(items), is_quieting_down}, index, now);
  }
  const DemandClass& only_class() const {
    REQUIRE(book.classes().size() == 1);
    return book.classes().begin()->second;
  }

  TemplateIndex index;
  DemandBook book{ControllerId("main")};
};

std::vector<std::int64_t> ids(const std::vector<DemandClass::Ref>& refs) {
  std::vector<std::int64_t> out;
  for (const auto& ref : refs) out.push_back(ref.id);
  return out;
}

TEST_CASE("templates satisfy a label with the fewest labels first; those of other controllers never") {
  Book b;
  const auto matching = [&b](const char* text) {
    const LabelExpression expression = LabelExpression::from_job(text);
    return b.index.matching(&expression, ControllerId("main"));
  };
  CHECK(matching("linux") == std::vector<std::size_t>{1, 0});
  CHECK(matching("linux && !big") == std::vector<std::size_t>{1});
  CHECK(matching("swarm") == std::vector<std::size_t>{2, 1, 0});
  CHECK(matching("windows").empty());
  CHECK(b.index.matching(nullptr, ControllerId("main")) == std::vector<std::size_t>{2});
  CHECK(b.index.named(TemplateName("elsewhere"), ControllerId("main")).empty());
  CHECK(b.index.named(TemplateName("elsewhere"), ControllerId("other")) == std::vector<std::size_t>{3});
}

TEST_CASE("texts that mean the same are one class, oldest first; a quoted atom is another") {
  Book b;
  b.read({item(3, "linux&&big"), item(1, "linux && big"), item(2, " linux  &&big")});
  CHECK(ids(b.only_class().buildable) == std::vector<std::int64_t>{1, 2, 3});
  CHECK(b.only_class().templates == std::vector<std::size_t>{0});
  b.read({item(1, "linux&&big || x"), item(4, "\"linux&&big\" || x")});
  b.book.drop_empty_classes();
  CHECK(b.book.classes().size() == 2);
}

TEST_CASE("any node is a class of its own") {
  Book b;
  b.read({item(1, ""), item(2, "  ")});
  CHECK(b.only_class().buildable.size() == 2);
  CHECK_FALSE(b.only_class().expression);
  CHECK(b.only_class().templates == std::vector<std::size_t>{2});
}

TEST_CASE("waiting items are look-ahead, soonest first; blocked, pending and stopping ones are no demand") {
  Book b;
  QueueItem stopping = item(5, "linux");
  stopping.is_stopping = true;
  b.read({item(1, "linux", ItemStage::waiting), item(2, "linux", ItemStage::waiting),
          item(3, "linux", ItemStage::blocked), item(4, "linux", ItemStage::pending), stopping});
  CHECK(ids(b.only_class().waiting) == std::vector<std::int64_t>{2, 1});
  CHECK(b.only_class().buildable.empty());
  CHECK(b.book.classed_items() == 2);
  CHECK(b.book.find(3)->kind == DemandBook::Kind::none);
}

TEST_CASE("an unknown label is reported, never guessed, until it is learned") {
  Book b;
  b.read({item(1, std::nullopt)});
  CHECK(b.book.find(1)->kind == DemandBook::Kind::unresolved);
  CHECK(b.book.classed_items() == 0);
  CHECK(b.book.hidden().empty());

  QueueItem hidden = item(1, std::nullopt);
  hidden.matching_node = "skep-small-1-0abc";
  b.read({hidden});
  REQUIRE(b.book.hidden().size() == 1);
  b.book.resolve_like(1, TemplateName("small"), b.index, at(2));
  CHECK(b.book.find(1)->kind == DemandBook::Kind::classed);
  CHECK(b.book.find(1)->demand_class->templates == std::vector<std::size_t>{1});
  CHECK(b.book.hidden().empty());

  b.read({item(1, "linux")});
  CHECK(b.book.find(1)->demand_class->name == "linux");
}

TEST_CASE("a reading changes only what differs, and says whether anything did") {
  Book b;
  CHECK(b.read({item(1, "linux"), item(2, "linux")}));
  CHECK_FALSE(b.read({item(2, "linux"), item(1, "linux")}));
  CHECK(b.read({item(2, "linux"), item(3, "big")}));
  CHECK(b.book.find(1) == nullptr);
  CHECK(b.read({item(2, "big"), item(3, "big")}));
  CHECK(b.book.classes().at("linux").buildable.empty());
  CHECK(ids(b.book.classes().at("big").buildable) == std::vector<std::int64_t>{2, 3});
  b.book.drop_empty_classes();
  CHECK(b.book.classes().size() == 1);
}

TEST_CASE("of one id twice in a reply the first counts") {
  Book b;
  b.read({item(1, "linux"), item(1, "big")});
  CHECK(b.only_class().name == "linux");
  CHECK(b.book.classed_items() == 1);
}

TEST_CASE("a controller that quiets down asks for nothing, and for all of it again afterwards") {
  Book b;
  b.read({item(1, "linux")});
  CHECK(b.read({item(1, "linux")}, at(2), true));
  CHECK(b.book.classed_items() == 0);
  CHECK(b.only_class().buildable.empty());
  CHECK(b.read({item(1, "linux")}, at(3)));
  CHECK(b.book.classed_items() == 1);
}

TEST_CASE("an item that waits for a node of ours is found by the node's name, also while quieting down") {
  Book b;
  b.read({item(1, "skep-small-1-0abc")});
  CHECK(b.book.item_for_node("skep-small-1-0abc") == 1);
  CHECK_FALSE(b.book.item_for_node("linux"));
  b.read({item(1, "skep-small-1-0abc")}, at(2), true);
  CHECK(b.book.item_for_node("skep-small-1-0abc") == 1);
  b.read({});
  CHECK_FALSE(b.book.item_for_node("skep-small-1-0abc"));
}

TEST_CASE("items are recent for some seconds after they were first seen buildable") {
  Book b;
  b.read({item(1, "linux", ItemStage::waiting), item(2, "linux")}, at(1));
  REQUIRE(b.book.recent(at(2)).size() == 1);
  b.read({item(1, "linux"), item(2, "linux")}, at(5));
  CHECK(b.book.recent(at(5)).size() == 2);
  const auto later = b.book.recent(at(8));
  REQUIRE(later.size() == 1);
  CHECK(later.front()->item.id == 1);
  CHECK(b.book.recent(at(12)).empty());
}

TEST_CASE("after a change of configuration every class has its new templates") {
  Book b;
  b.read({item(1, "linux")});
  b.index.reset({make_template("new", {"linux"})});
  b.book.rematch(b.index);
  CHECK(b.only_class().templates == std::vector<std::size_t>{0});
}

}  // namespace
}  // namespace skep::scheduler::demand_test
