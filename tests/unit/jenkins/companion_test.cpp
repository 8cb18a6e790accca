#include "scheduler/jenkins/companion.h"

#include <catch2/catch.hpp>

#include "core/bounds.h"

namespace companion_test {

using namespace skep;
using namespace skep::scheduler;

namespace {

constexpr WallTime early{1'000}, late{9'000};

std::string told(const QueueSnapshot& queue) {
  std::string out = queue.is_quieting_down ? "quiet " : "";
  for (const QueueItem& item : queue.items)
    out += std::to_string(item.id) + " " + std::string(to_string(item.stage)) + " " +
           item.label.value_or("?") + "; ";
  return out;
}

std::string told(const std::vector<NodeNews>& nodes) {
  std::string out;
  for (const NodeNews& news : nodes)
    out += std::to_string(static_cast<int>(news.kind)) + " " + news.node + " <" + news.path + ">; ";
  return out;
}

CompanionBase base_of(const std::string& text) {
  auto base = read_companion_base(text);
  REQUIRE(base);
  return *base;
}

CompanionNews news_of(const std::string& text) {
  auto news = read_companion_news(text);
  REQUIRE(news);
  return *news;
}

const QueueItem& only(const QueueSnapshot& queue) {
  REQUIRE(queue.items.size() == 1);
  return queue.items.front();
}

}  // namespace

TEST_CASE("the scripts say what they are, and each is what it says") {
  CHECK(companion_install_script().starts_with("// skep-companion 1 install\n"));
  CHECK(companion_remove_script().starts_with("// skep-companion 1 remove\n"));
  const std::string wait = companion_wait_script(12'345'678'901, seconds(30));
  CHECK(wait.starts_with("// skep-companion 1 wait\n"));
  CHECK(wait.find("from = 12345678901L, millis = 30000L\n") != std::string::npos);
  CHECK(companion_wait_script(1, -seconds(1)).find("millis = 0L") != std::string::npos);
  // Words that other parts of the house rely on.
  const std::string install = companion_install_script();
  CHECK(install.find("it.name == '" + std::string(one_build_marker_label) + "'") != std::string::npos);
  CHECK(install.find("KEEP = " + std::to_string(bounds::max_companion_events) + "\n") != std::string::npos);
  CHECK(companion_remove_script().find("println '" + std::string(companion_removed) + "'") !=
        std::string::npos);
  for (const std::string& script : {install, wait, companion_remove_script()}) {
    CHECK(script.ends_with("\nnull\n"));
    CHECK(script.find("removeAll") == std::string::npos);
  }
}

TEST_CASE("a base: items, an empty queue, a quiet-down, a controller on Windows") {
  const CompanionBase base =
      base_of("skep-companion 1 a-1 7\n55 buildable c1&&linux\n56 waiting \n57 blocked a b\nend 3\n");
  CHECK(base.boot == "a-1");
  CHECK(base.next == 7);
  CHECK_FALSE(base.is_quieting_down);
  REQUIRE(base.items.size() == 3);
  CHECK(base.items[0].id == 55);
  CHECK(base.items[0].stage == ItemStage::buildable);
  CHECK(base.items[0].label == "c1&&linux");
  CHECK(base.items[1].stage == ItemStage::waiting);
  CHECK(base.items[1].label.empty());
  CHECK(base.items[2].stage == ItemStage::blocked);
  CHECK(base.items[2].label == "a b");
  CHECK(base_of("skep-companion 1 b 1 quiet\nend 0\n").is_quieting_down);
  CHECK(base_of("skep-companion 1 b 1\r\n5 waiting x\r\nend 1\r\n").items[0].label == "x");
}

TEST_CASE("a base that is not wholly understood is refused") {
  const std::string bad[] = {
      "",
      "\n",
      "java.lang.NullPointerException: x\n\tat y\n",
      "skep-companion 1 b 1\n",
      "skep-companion 1 b 1",
      "skep-companion 1 b 1\nend 0",
      "skep-companion 1 b 1\nend 1\n",
      "skep-companion 1 b 1\n5 waiting x\nend 0\n",
      "skep-companion 1 b 1\n5 waiting x\nend 2\n",
      "skep-companion 1 b 1\n5 waiting x\n5 waiting x\nend 2\n",
      "skep-companion 1 b 1\n5 waiting x\n",
      "skep-companion 1 b 1\nend 0\n5 waiting x\n",
      "skep-companion 1 b 1\n5 pending x\nend 1\n",
      "skep-companion 1 b 1\n0 waiting x\nend 1\n",
      "skep-companion 1 b 1\n-5 waiting x\nend 1\n",
      "skep-companion 1 b 1\nx5 waiting x\nend 1\n",
      "skep-companion 1 b 1\n5x waiting x\nend 1\n",
      "skep-companion 1 b 1\n99999999999999999999 waiting x\nend 1\n",
      "skep-companion 1 b 1\n\nend 0\n",
      "skep-companion 1 b 0\nend 0\n",
      "skep-companion 1 b -1\nend 0\n",
      "skep-companion 1 b 1 2\nend 0\n",
      "skep-companion 1 b 1 loud\nend 0\n",
      "skep-companion 1 b 1 \nend 0\n",
      "skep-companion 1 b\nend 0\n",
      "skep-companion 1 b! 1\nend 0\n",
      "skep-companion 1  1\nend 0\n",
      "skep-companion 1\nend 0\n",
      "skep-companion 2 b 1\nend 0\n",
      "skep-companion 10 b 1\nend 0\n",
      "x\nskep-companion 1 b 1\nend 0\n",
      "skep-companion 1 b 1\n5 waiting " + std::string(bounds::max_label_text_bytes + 1, 'x') + "\nend 1\n",
      "skep-companion 1 " + std::string(65, 'b') + " 1\nend 0\n",
  };
  for (const std::string& text : bad) {
    INFO(text.substr(0, 200));
    const auto base = read_companion_base(text);
    REQUIRE_FALSE(base);
    CHECK(base.error().code == ErrorCode::malformed_reply);
    CHECK(base.error().outcome == Outcome::unknown);
    CHECK(base.error().message.size() < 400);
  }
  CHECK(read_companion_base("skep-companion absent\n").error().code == ErrorCode::not_found);
  CHECK(read_companion_news("skep-companion absent\n").error().code == ErrorCode::not_found);
}

TEST_CASE("news that are not wholly understood are refused") {
  const std::string good = "skep-companion 1 b 2 5\n3 waiting 7 x\n4 left 7 x\n";
  REQUIRE(read_companion_news(good));
  REQUIRE(read_companion_news("skep-companion 1 b 1 1\n"));
  REQUIRE(read_companion_news("skep-companion 1 b 1 1 quiet\n")->is_quieting_down);
  const std::string bad[] = {
      "",
      good + "x",
      good.substr(0, good.size() - 1),            // cut within a line
      "skep-companion 1 b 2 5\n3 waiting 7 x\n",  // and after one
      "skep-companion 1 b 5 2\n",                 // oldest beyond the next
      "skep-companion 1 b 2\n",
      "skep-companion 1 b 2 5 6\n",
      "skep-companion 1 b 2 4\n3 waiting 7 x\n4 left 7 x\n",  // more than there are
      "skep-companion 1 b 4 5\n3 waiting 7 x\n4 left 7 x\n",  // older than the oldest
      "skep-companion 1 b 2 5\n4 left 7 x\n3 waiting 7 x\n",
      "skep-companion 1 b 2 5\n2 waiting 7 x\n4 left 7 x\n",
      "skep-companion 1 b 2 5\n4 left 7 x\n4 left 7 x\n",
      "skep-companion 1 b 2 5\n4 exploded 7 x\n",
      "skep-companion 1 b 2 5\n4 \n",
      "skep-companion 1 b 2 5\n4 left\n",
      "skep-companion 1 b 2 5\n4 left x7\n",
      "skep-companion 1 b 2 5\n4 left 0\n",
      "skep-companion 1 b 2 5\n4 left -7 x\n",
      "skep-companion 1 b 2 5\nResult: null\n",
      "skep-companion 1 b 2 5\n4 waiting 7 " + std::string(bounds::max_label_text_bytes + 1, 'x') + "\n",
      "java.lang.IllegalStateException\n\tat x\n",
  };
  for (const std::string& text : bad) {
    INFO(text.substr(0, 200));
    const auto news = read_companion_news(text);
    REQUIRE_FALSE(news);
    CHECK(news.error().code == ErrorCode::malformed_reply);
    CHECK(news.error().outcome == Outcome::unknown);
  }
}

TEST_CASE("events of nodes in order, with paths as far as they are told") {
  CompanionBook book;
  book.begin(base_of("skep-companion 1 b 1\nend 0\n"), early);
  const auto nodes = book.apply(news_of("skep-companion 1 b 1 14\n"
                                        "1 online my node\n2 accepted n1 job/app/\n3 accepted n1 \n"
                                        "4 accepted my node\n5 completed my node job/a%20b/1/\n"
                                        "6 completed n1 /jenkins/job/p/1/\n7 completed n1 view/x/\n"
                                        "8 continues n1\n9 closed n1\n10 opened n1\n11 offline n1\n"
                                        "12 online \n13 offline \n"),
                                early);
  REQUIRE(nodes);
  CHECK(told(*nodes) ==
        "0 my node <>; 4 n1 <job/app/>; 4 n1 <>; 4 my node <>; 5 my node <job/a%20b/1/>; 5 n1 <job/p/1/>; "
        "5 n1 <>; 6 n1 <>; 3 n1 <>; 2 n1 <>; 1 n1 <>; ");
  CHECK(book.queue().items.empty());
  CHECK(book.next() == 14);
}

TEST_CASE("the queue by base and events") {
  CompanionBook book;
  book.begin(base_of("skep-companion 1 b 3\n5 waiting x\n6 buildable \nend 2\n"), early);
  CHECK(told(book.queue()) == "5 waiting x; 6 buildable ; ");
  struct Row {
    const char* news;
    const char* queue;
  };
  const Row rows[] = {
      {"skep-companion 1 b 1 3\n", "5 waiting x; 6 buildable ; "},
      {"skep-companion 1 b 1 4\n3 buildable 5 x\n", "5 buildable x; 6 buildable ; "},
      {"skep-companion 1 b 1 6\n4 left 6 \n5 waiting 9 y z\n", "5 buildable x; 9 waiting y z; "},
      {"skep-companion 1 b 6 7\n6 blocked 9 y z\n", "5 buildable x; 9 blocked y z; "},
      // Some of it was applied already: skipped.
      {"skep-companion 1 b 1 8\n5 waiting 9 y z\n6 blocked 9 y z\n7 cancelled 9 y z\n", "5 buildable x; "},
      {"skep-companion 1 b 1 8 quiet\n", "quiet 5 buildable x; "},
      {"skep-companion 1 b 1 8\n", "5 buildable x; "},
      // Its effect is in the base already.
      {"skep-companion 1 b 1 11\n8 buildable 5 x\n9 left 77 q\n10 left 5 x\n", ""},
  };
  for (const Row& row : rows) {
    INFO(row.news);
    REQUIRE(book.apply(news_of(row.news), late));
    CHECK(told(book.queue()) == row.queue);
  }
}

TEST_CASE("news that do not fit change nothing") {
  CompanionBook book;
  CHECK_FALSE(book.apply(news_of("skep-companion 1 b 1 1\n"), early));  // no base yet
  book.begin(base_of("skep-companion 1 b 5\n5 waiting x\nend 1\n"), early);
  CompanionNews unparsed = news_of("skep-companion 1 b 1 6\n5 left 5 x\n");
  unparsed.events[0].kind = "exploded";
  CompanionNews twice = news_of("skep-companion 1 b 1 7\n5 left 5 x\n6 left 5 x\n");
  twice.events[0].number = 6;
  const CompanionNews misfits[] = {
      news_of("skep-companion 1 other 1 6\n5 left 5 x\n"),  // another installation
      news_of("skep-companion 1 b 6 7\n6 left 5 x\n"),      // event 5 is lost
      news_of("skep-companion 1 b 6 6\n"),                  // also without a later one
      news_of("skep-companion 1 b 1 4\n"),                  // numbers went back
      news_of("skep-companion 1 b 1 7\n6 left 5 x\n"),      // event 5 is left out
      news_of("skep-companion 1 b 1 7\n"),                  // all are
      unparsed,
      twice,
  };
  for (const CompanionNews& news : misfits) {
    INFO(news.boot << " " << news.first << " " << news.next);
    const auto applied = book.apply(news, late);
    REQUIRE_FALSE(applied);
    CHECK(applied.error().outcome == Outcome::unknown);
    CHECK(book.next() == 5);
    CHECK(told(book.queue()) == "5 waiting x; ");
  }
  const auto why = [&](const char* news) { return book.apply(news_of(news), late).error().message; };
  CHECK(why("skep-companion 1 b 6 6\n").find("events from 5 on are lost") != std::string::npos);
  CHECK(why("skep-companion 1 b 1 4\n").find("numbers went back from 5 to 4") != std::string::npos);
  REQUIRE(book.apply(news_of("skep-companion 1 b 1 6\n5 left 5 x\n"), late));
}

TEST_CASE("an item of which only the companion tells") {
  CompanionBook book;
  book.begin(base_of("skep-companion 1 b 1\n5 waiting x\nend 1\n"), early);
  const QueueItem waiting = only(book.queue());
  CHECK(waiting.name == "item 5");
  CHECK(waiting.path.empty());
  CHECK(waiting.label_source == LabelSource::script);
  CHECK(waiting.in_queue_since == early);
  CHECK_FALSE(waiting.buildable_since);
  REQUIRE(book.apply(news_of("skep-companion 1 b 1 2\n1 buildable 5 x\n"), late));
  CHECK(only(book.queue()).in_queue_since == early);
  CHECK(only(book.queue()).buildable_since == late);
  REQUIRE(book.apply(news_of("skep-companion 1 b 1 3\n2 buildable 5 x\n"), WallTime{99'000}));
  CHECK(only(book.queue()).buildable_since == late);
  REQUIRE(book.apply(news_of("skep-companion 1 b 1 3 quiet\n"), late));
  CHECK(only(book.queue()).is_stopping);
  book.begin(base_of("skep-companion 1 b 9\n5 buildable x\nend 1\n"), WallTime{99'000});
  CHECK(only(book.queue()).in_queue_since == early);
  CHECK(only(book.queue()).buildable_since == late);
}

TEST_CASE("a read gives names and times, and changes neither the items nor their stage and label") {
  QueueItem read;
  read.id = 5;
  read.name = "app";
  read.path = "job/app/";
  read.is_pipeline_block = true;
  read.stage = ItemStage::waiting;
  read.label = "by why";
  read.label_source = LabelSource::why;
  read.in_queue_since = WallTime{500};
  read.quiet_until = WallTime{3'000};
  read.why = "In the quiet period";
  QueueItem later = read;
  later.id = 6;
  later.name = "other";

  CompanionBook book;
  book.begin(base_of("skep-companion 1 b 1\n5 waiting x\nend 1\n"), early);
  book.note_read({{read, later}, false});
  const QueueItem known = only(book.queue());
  CHECK(known.name == "app");
  CHECK(known.path == "job/app/");
  CHECK(known.is_pipeline_block);
  CHECK(known.label == "x");
  CHECK(known.label_source == LabelSource::script);
  CHECK(known.in_queue_since == WallTime{500});
  CHECK(known.quiet_until == WallTime{3'000});
  CHECK(known.why == "In the quiet period");

  SECTION("who comes later has what was read before") {
    REQUIRE(book.apply(news_of("skep-companion 1 b 1 2\n1 waiting 6 y\n"), late));
    REQUIRE(book.queue().items.size() == 2);
    CHECK(book.queue().items[1].name == "other");
    CHECK(book.queue().items[1].label == "y");
  }
  SECTION("the end of a quiet period is over with it") {
    REQUIRE(book.apply(news_of("skep-companion 1 b 1 2\n1 buildable 5 x\n"), late));
    CHECK_FALSE(only(book.queue()).quiet_until);
    CHECK(only(book.queue()).buildable_since == late);
    read.stage = ItemStage::buildable;
    read.buildable_since = WallTime{8'000};
    book.note_read({{read}, false});
    CHECK(only(book.queue()).buildable_since == WallTime{8'000});
  }
  SECTION("an empty read takes nothing away") {
    book.note_read({});
    CHECK(only(book.queue()).name == "app");
  }
  SECTION("a new base keeps names") {
    book.begin(base_of("skep-companion 1 c 1\n5 buildable x\nend 1\n"), late);
    CHECK(only(book.queue()).name == "app");
    CHECK(only(book.queue()).stage == ItemStage::buildable);
  }
  SECTION("another session has other items") {
    book.forget_items();
    CHECK_FALSE(book.apply(news_of("skep-companion 1 b 1 1\n"), late));
    book.begin(base_of("skep-companion 1 c 1\n5 waiting x\nend 1\n"), late);
    CHECK(only(book.queue()).name == "item 5");
  }
  SECTION("a quiet-down that a read shows counts, until the companion tells otherwise") {
    read.stage = ItemStage::buildable;
    book.note_read({{read}, true});
    CHECK(book.queue().is_quieting_down);
    book.note_read({{}, false});
    CHECK(book.queue().is_quieting_down);
    REQUIRE(book.apply(news_of("skep-companion 1 b 1 1\n"), late));
    CHECK_FALSE(book.queue().is_quieting_down);
  }
}

TEST_CASE("which question comes next") {
  CompanionTalk talk;
  const std::string base = "skep-companion 1 b 4\n5 waiting x\nend 1\n";
  CHECK(talk.needs_base());
  auto question = talk.next_question(seconds(30));
  CHECK(question.script == companion_install_script());
  CHECK_FALSE(talk.note_answer(question, "nonsense\n", early));
  CHECK(talk.needs_base());
  const auto first = talk.note_answer(question, base, early);
  REQUIRE(first);
  CHECK(first->is_base);
  CHECK(first->events == 0);
  CHECK(told(first->queue) == "5 waiting x; ");

  question = talk.next_question(seconds(30));
  CHECK(question.script == companion_wait_script(4, seconds(30)));
  const auto news = talk.note_answer(question, "skep-companion 1 b 1 6\n4 left 5 x\n5 online n\n", early);
  REQUIRE(news);
  CHECK_FALSE(news->is_base);
  CHECK(news->events == 2);
  CHECK(news->queue.items.empty());
  CHECK(told(news->nodes) == "0 n <>; ");
  CHECK(talk.next_question(seconds(1)).script == companion_wait_script(6, seconds(1)));

  SECTION("an answer that does not fit") {
    CHECK_FALSE(talk.note_answer(question, "skep-companion absent\n", early));
    CHECK(talk.needs_base());
  }
  SECTION("a base that is wanted meanwhile is not the one that was asked for before") {
    talk.rebase();
    const auto asked = talk.next_question(seconds(1));
    talk.rebase();
    REQUIRE(talk.note_answer(asked, base, early));
    CHECK(talk.needs_base());
    REQUIRE(talk.note_answer(talk.next_question(seconds(1)), base, early));
    CHECK_FALSE(talk.needs_base());
  }
  SECTION("what was under way when the session ended fits nothing") {
    const auto asked = talk.next_question(seconds(1));
    talk.forget_session();
    CHECK(talk.needs_base());
    CHECK_FALSE(talk.note_answer(asked, "skep-companion 1 b 1 7\n6 waiting 9 x\n", early));
  }
}

}  // namespace companion_test
