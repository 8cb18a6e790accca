// The companion: what real controllers printed (recordings 16 and 23), through parsers and book; and the
// calls of the adapter against the stand-in.
#include <algorithm>
#include <catch2/catch.hpp>

#include "scheduler/jenkins/companion.h"
#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::companion_test {
namespace {

using controller_sim::FaultKind;
using recordings::Exchange;
using recordings::Recording;
using Kind = NodeNews::Kind;

constexpr WallTime now{1'000};

std::string told(const QueueSnapshot& queue) {
  std::string out = queue.is_quieting_down ? "quiet " : "";
  for (const QueueItem& item : queue.items)
    out += item.name + " " + std::string(to_string(item.stage)) + " <" + item.label.value_or("?") + ">; ";
  return out;
}

std::string told(const std::vector<NodeNews>& nodes) {
  static const char* const kinds[] = {"online",   "offline",   "opened",   "closed",
                                      "accepted", "completed", "continues"};
  std::string out;
  for (const NodeNews& news : nodes)
    out += std::string(kinds[static_cast<int>(news.kind)]) + " " + news.node +
           (news.path.empty() ? "" : " " + news.path) + "; ";
  return out;
}

/// What was recorded does not say how long it is: its last line is added.
CompanionBase recorded_base(const Exchange& exchange) {
  const std::string& body = *exchange.answer.body;
  const auto items = std::count(body.begin(), body.end(), '\n') - 1;
  const auto base = read_companion_base(body + "end " + std::to_string(items) + "\n");
  REQUIRE(base);
  REQUIRE_FALSE(read_companion_base(body));
  return *base;
}

CompanionNews recorded_news(const Exchange& exchange) {
  const auto news = read_companion_news(*exchange.answer.body);
  INFO(exchange.step << ": " << *exchange.answer.body);
  REQUIRE(news);
  return *news;
}

}  // namespace

TEST_CASE("recorded: a freestyle build from the queue to its end", "[contract]") {
  for (const char* core : {"jenkins-2.479.3", "jenkins-2.528.3"}) {
    const Recording& recording = recordings::of(std::string(core) + "/16-companion.json");
    const auto news = [&](const char* step) { return recorded_news(recording.step(step)); };
    const CompanionBase base = recorded_base(
        recording.step("install: version, boot id, next event number, then the queue as it is"));
    REQUIRE(base.items.size() == 1);
    const std::string first = std::to_string(base.items[0].id), second = std::to_string(base.items[0].id + 1);
    CHECK(recorded_base(recording.step("install again: the same boot id")).boot == base.boot);
    CHECK(base.next == 1);

    CompanionBook book;
    book.begin(base, now);
    CHECK(told(book.queue()) == "item " + first + " buildable <c1&&linux>; ");
    CHECK(told(*book.apply(news("wait with nothing happening: 1.5 s"), now)).empty());
    CHECK(told(*book.apply(news("wait; 0.5 s later somebody schedules a build"), now)).empty());
    CHECK(told(book.queue()) ==
          "item " + first + " buildable <c1&&linux>; item " + second + " waiting <c1&&linux>; ");
    CHECK(told(*book.apply(news("the rest"), now)).empty());
    CHECK(told(*book.apply(news("what happened meanwhile"), now)) ==
          "online cx1; accepted cx1; completed cx1; offline cx1; ");
    CHECK(told(book.queue()) == "item " + second + " buildable <c1&&linux>; ");
    CHECK(book.next() == 8);
    CHECK(told(*book.apply(news("a number in the future waits"), now)).empty());
    CHECK(told(*book.apply(news("from the beginning"), now)).empty());  // all of it was applied

    CompanionBook at_once;
    at_once.begin(base, now);
    CHECK(at_once.apply(news("from the beginning"), now)->size() == 4);
    CHECK(told(at_once.queue()) == told(book.queue()));

    for (const char* step : {"wait before anything is installed", "wait after removal"}) {
      const auto absent = read_companion_news(*recording.step(step).answer.body);
      REQUIRE_FALSE(absent);
      CHECK(absent.error().code == ErrorCode::not_found);
    }
    CHECK(recording.step("remove").answer.body == std::string(companion_removed) + "\n");
  }
}

TEST_CASE("recorded: blocks of a pipeline, with the labels that REST hides", "[contract]") {
  const Recording& recording = recordings::of("pipeline-on-2.479.3/23-companion-with-node-blocks.json");
  CompanionBook book;
  book.begin(recorded_base(recording.step("install")), now);
  const char* const queues[] = {"item 504 buildable <g1>; item 505 buildable <g1&&big>; ",
                                "item 505 buildable <g1&&big>; ", ""};
  const char* const nodes[] = {"", "online cp0; accepted cp0; completed cp0; offline cp0; ",
                               "online cp1; accepted cp1; completed cp1; offline cp1; "};
  std::size_t seen = 0;
  for (const Exchange& exchange : recording.exchanges) {
    if (exchange.step != "events") continue;
    REQUIRE(seen < 3);
    const auto applied = book.apply(recorded_news(exchange), now);
    REQUIRE(applied);
    CHECK(told(book.queue()) == queues[seen]);
    CHECK(told(*applied) == nodes[seen]);
    ++seen;
  }
  CHECK(seen == 3);
}

namespace {

/// An administrator's adapter, a controller with a sentinel and a job of each kind.
struct Farm {
  Farm() : adapter(options(), "admin", "admin-token") {
    adapter.client.model().create_permanent_node("skep-sentinel", "", true, 1, adapter.client.now());
    job("app", "linux && x86");
    adapter.client.pass(seconds(6));
  }
  static controller_sim::Options options() {
    controller_sim::Options made;
    made.users.push_back({"other", "other-token", "", {"Overall/Read"}});
    return made;
  }
  void job(const std::string& path, const std::string& label) {
    controller_sim::JobSpec spec;
    spec.path = path;
    spec.label = label;
    spec.concurrent = true;
    adapter.client.model().create_job(spec);
  }
  std::int64_t schedule(const std::string& path = "app") {
    const auto id = adapter.client.model().schedule(path, adapter.client.now(), {{"N", std::to_string(++n)}});
    REQUIRE(id);
    adapter.client.pass(milliseconds(50));
    return *id;
  }
  CompanionAnswer ask(Duration wait = seconds(30)) {
    auto answer = adapter.controller.ask_companion(wait);
    if (!answer) UNSCOPED_INFO(answer.error().message);
    REQUIRE(answer);
    return std::move(*answer);
  }
  void misbehave(FaultKind kind, std::int64_t value = 0, int count = 1) {
    adapter.client.model().misbehave({"scriptText", kind, value, count});
  }
  /// The scripts that were posted since the last call: "install wait hook".
  std::string scripts() {
    std::string out;
    for (; seen < adapter.client.requests.size(); ++seen) {
      const std::string& body = adapter.client.requests[seen].body;
      for (const char* verb : {"install", "wait", "remove"}) {
        if (body.find(std::string("skep-companion%201%20") + verb) != std::string::npos)
          out += std::string(verb) + " ";
      }
      if (body.find("skep-one-build%201%0A") != std::string::npos) out += "hook ";
    }
    return out;
  }
  void executor(const std::string& name) {
    CreateNode order;
    order.node = ExecutorId(name);
    order.labels = "linux x86 " + std::string(one_build_marker_label);
    REQUIRE(adapter.controller.create_node(order));
    adapter.client.connect(name);
  }
  void finish(const std::string& node) {
    auto& model = adapter.client.model();
    const auto build = model.running_build_on(node);
    REQUIRE(build);
    model.build_finished_on_agent(node, *build, adapter.client.now());
    adapter.client.pass(milliseconds(200));
  }

  Adapter<ModelClient> adapter;
  std::size_t seen = 0;
  int n = 0;
};

}  // namespace

TEST_CASE("asking: first a base, then each change as it comes, with the wait as the limit", "[contract]") {
  Farm farm;
  farm.schedule();
  const CompanionAnswer base = farm.ask();
  CHECK(base.is_base);
  CHECK(told(base.queue) == "item 1 buildable <linux&&x86>; ");
  CHECK(farm.scripts() == "install ");

  // Nothing happens: the answer comes when the wait is over, and the client had more patience than that.
  Instant asked = farm.adapter.client.now();
  const CompanionAnswer nothing = farm.ask(seconds(30));
  CHECK_FALSE(nothing.is_base);
  CHECK(told(nothing.queue) == told(base.queue));
  CHECK(farm.adapter.client.now() - asked >= seconds(30));
  CHECK(farm.adapter.client.now() - asked < seconds(31));
  REQUIRE(farm.adapter.client.timeouts.back());
  CHECK(*farm.adapter.client.timeouts.back() >= seconds(45));
  CHECK(*farm.adapter.client.timeouts.back() < minutes(2));

  // Something happens half a second later.
  farm.adapter.client.meanwhile = [&] {
    farm.adapter.client.pass(milliseconds(500));
    farm.schedule();
  };
  asked = farm.adapter.client.now();
  const CompanionAnswer news = farm.ask();
  CHECK(news.queue.items.size() == 2);
  CHECK(farm.adapter.client.now() - asked < seconds(1));
  CHECK(farm.scripts() == "wait wait ");

  // A read gives names; the answer after it has them.
  REQUIRE(farm.adapter.controller.read_queue());
  CHECK(told(farm.ask(milliseconds(1)).queue) == "app buildable <linux&&x86>; app buildable <linux&&x86>; ");
  CHECK(farm.ask(hours(1)).nodes.empty());  // more than a minute is a minute
  CHECK(*farm.adapter.client.timeouts.back() <= minutes(2));
}

TEST_CASE("one build for each executor, told with its paths", "[contract]") {
  Farm farm;
  farm.schedule();
  farm.schedule();
  farm.ask();
  farm.executor("x1");
  farm.adapter.client.pass(seconds(1));
  CHECK(told(farm.ask(milliseconds(1)).nodes) == "online x1; accepted x1 job/app/; ");
  farm.finish("x1");
  const CompanionAnswer over = farm.ask(milliseconds(1));
  CHECK(told(over.nodes) == "completed x1 job/app/1/; offline x1; ");
  CHECK(told(over.queue) == "item 2 buildable <linux&&x86>; ");
  CHECK(farm.adapter.client.model().builds().size() == 1);
}

TEST_CASE("a quiet-down is told with the next answer", "[contract]") {
  Farm farm;
  farm.schedule();
  farm.adapter.client.model().set_quieting_down(true, farm.adapter.client.now());
  CHECK(farm.ask().queue.is_quieting_down);
  const CompanionAnswer during = farm.ask(milliseconds(1));
  CHECK(during.queue.is_quieting_down);
  CHECK(during.queue.items[0].is_stopping);
  farm.adapter.client.model().set_quieting_down(false, farm.adapter.client.now());
  const CompanionAnswer after = farm.ask(milliseconds(1));
  CHECK_FALSE(after.queue.is_quieting_down);
  CHECK_FALSE(after.queue.items[0].is_stopping);
}

TEST_CASE("what does not fit is followed by a new base in the same call", "[contract]") {
  struct Row {
    const char* name;
    FaultKind kind;
  };
  const Row rows[] = {{"absent", FaultKind::companion_absent},
                      {"events are lost", FaultKind::companion_overflow},
                      {"another version is in its place", FaultKind::companion_other_version},
                      {"half of an answer", FaultKind::half_json},
                      {"a page with 200", FaultKind::html_with_200}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      Farm farm;
      farm.schedule();
      REQUIRE(farm.ask().is_base);
      farm.schedule();
      farm.scripts();
      farm.misbehave(row.kind);
      const CompanionAnswer answer = farm.ask();
      CHECK(answer.is_base);
      CHECK(told(answer.queue) == "item 1 buildable <linux&&x86>; item 2 buildable <linux&&x86>; ");
      CHECK(farm.scripts() == "wait install ");
      farm.schedule();
      const CompanionAnswer next = farm.ask();
      CHECK_FALSE(next.is_base);
      CHECK(next.queue.items.size() == 3);
      CHECK(farm.scripts() == "wait ");
      // Whatever happened, one companion keeps the rule.
      farm.executor("x1");
      farm.adapter.client.pass(seconds(1));
      CHECK(told(farm.ask(milliseconds(1)).nodes) == "online x1; accepted x1 job/app/; ");
    }
  }
}

TEST_CASE("an answer that does not come changes nothing: the same wait is asked again", "[contract]") {
  struct Row {
    const char* name;
    FaultKind kind;
    std::int64_t value;
    ErrorCode code;
  };
  const Row rows[] = {{"cut", FaultKind::truncate_body, 50, ErrorCode::unavailable},
                      {"dropped", FaultKind::drop_reply, 0, ErrorCode::unavailable},
                      {"refused", FaultKind::refuse_request, 0, ErrorCode::unavailable},
                      {"503", FaultKind::status, 503, ErrorCode::unavailable},
                      {"too slow", FaultKind::delay, 100'000, ErrorCode::timed_out}};
  for (const Row& row : rows) {
    for (const bool has_to_wait : {false, true}) {
      DYNAMIC_SECTION(row.name << (has_to_wait ? ", after a wait" : ", at once")) {
        Farm farm;
        farm.ask();
        if (has_to_wait) {
          farm.adapter.client.meanwhile = [&] { farm.schedule(); };
        } else {
          farm.schedule();
        }
        farm.misbehave(row.kind, row.value);
        const auto lost = farm.adapter.controller.ask_companion(seconds(30));
        REQUIRE_FALSE(lost);
        CHECK(lost.error().code == row.code);
        CHECK(lost.error().outcome == Outcome::unknown);
        farm.scripts();
        if (farm.adapter.client.meanwhile) std::exchange(farm.adapter.client.meanwhile, nullptr)();
        const CompanionAnswer answer = farm.ask();
        CHECK_FALSE(answer.is_base);
        CHECK(told(answer.queue) == "item 1 buildable <linux&&x86>; ");
        CHECK(farm.scripts() == "wait ");
      }
    }
  }
}

TEST_CASE("a slow answer is waited for", "[contract]") {
  Farm farm;
  farm.ask();
  farm.schedule();
  farm.misbehave(FaultKind::delay, 5'000);
  CHECK(farm.ask(seconds(1)).queue.items.size() == 1);
}

TEST_CASE("rights that are taken away, and given back", "[contract]") {
  Farm farm;
  auto& model = farm.adapter.client.model();
  farm.ask();
  model.set_permissions("admin", {"Overall/Read", "Job/Read"});
  for (int i = 0; i < 2; ++i) {
    const auto refused = farm.adapter.controller.ask_companion(seconds(30));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::permission_denied);
    CHECK(refused.error().message.find("Overall/Administer") != std::string::npos);
    farm.adapter.controller.rebase_companion();  // and the same when it would have to be installed
  }
  CHECK(farm.scripts() == "install wait install ");
  model.set_permissions("admin", {"Overall/Administer"});
  CHECK(farm.ask().is_base);
}

TEST_CASE("a script console that never runs anything is asked twice in a call at most", "[contract]") {
  Farm farm;
  farm.ask();
  farm.scripts();
  farm.misbehave(FaultKind::html_with_200, 0, 1000);
  for (const char* posted : {"wait install ", "install "}) {
    const auto failed = farm.adapter.controller.ask_companion(seconds(30));
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == ErrorCode::malformed_reply);
    CHECK(failed.error().outcome == Outcome::unknown);
    CHECK(farm.scripts() == posted);
  }
  farm.adapter.client.model().clear_faults();
  CHECK(farm.ask().is_base);
}

TEST_CASE("a new base by request", "[contract]") {
  Farm farm;
  farm.schedule();
  farm.ask();
  CHECK_FALSE(farm.ask(milliseconds(1)).is_base);
  farm.adapter.controller.rebase_companion();
  CHECK(farm.ask().is_base);
  CHECK_FALSE(farm.ask(milliseconds(1)).is_base);
  CHECK(farm.scripts() == "install wait install wait ");
}

TEST_CASE("a restart ends the wait, and the base after it belongs to the new session", "[contract]") {
  Farm farm;
  auto& client = farm.adapter.client;
  farm.schedule();
  farm.ask();
  REQUIRE(farm.adapter.controller.read_queue());
  const std::string before = farm.adapter.controller.session();
  client.meanwhile = [&] { client.model().restart(true, client.now()); };
  const auto lost = farm.adapter.controller.ask_companion(seconds(30));
  REQUIRE_FALSE(lost);
  CHECK(lost.error().outcome == Outcome::unknown);
  CHECK_FALSE(farm.adapter.controller.ask_companion(seconds(30)));  // it is starting
  client.pass(seconds(10));
  const CompanionAnswer answer = farm.ask();
  CHECK(answer.is_base);
  CHECK(farm.adapter.controller.session() != before);
  CHECK(told(answer.queue) == "item 1 buildable <linux&&x86>; ");  // names are those of the session before
}

TEST_CASE("a restart that another call sees first", "[contract]") {
  Farm farm;
  auto& client = farm.adapter.client;
  farm.ask();
  client.model().restart(true, client.now());
  client.pass(seconds(10));
  REQUIRE(farm.adapter.controller.read_queue());
  farm.scripts();
  CHECK(farm.ask().is_base);
  CHECK(farm.scripts() == "install ");
}

TEST_CASE("removing leaves the hook, and is no end", "[contract]") {
  Farm farm;
  farm.ask();
  farm.schedule();
  farm.schedule();
  farm.scripts();
  REQUIRE(farm.adapter.controller.remove_companion());
  REQUIRE(farm.adapter.controller.remove_companion());
  CHECK(farm.scripts() == "hook remove hook remove ");
  farm.executor("x1");
  farm.adapter.client.pass(seconds(1));
  farm.finish("x1");
  farm.adapter.client.pass(seconds(10));
  CHECK(farm.adapter.client.model().builds().size() == 1);  // one build, by the hook's rule
  CHECK(farm.adapter.client.model().node_names() == std::vector<std::string>{"skep-sentinel"});
  const CompanionAnswer again = farm.ask();
  CHECK(again.is_base);
  CHECK(farm.scripts() == "install ");
}

TEST_CASE("who waits while the companion is removed learns nothing, and starts anew", "[contract]") {
  Farm farm;
  farm.ask();
  farm.adapter.client.meanwhile = [&] {
    farm.adapter.client.model().befall_companion(FaultKind::companion_absent, 0, farm.adapter.client.now());
    farm.schedule();
  };
  const CompanionAnswer answer = farm.ask();
  CHECK(answer.is_base);
  CHECK(answer.queue.items.size() == 1);
}

TEST_CASE("two schedulers share one companion", "[contract]") {
  Farm farm;
  farm.schedule();
  farm.ask();
  // As another one posts it.
  auto other = [&] {
    http::Request request;
    request.method = "POST";
    request.target = "scriptText";
    request.headers = {{"Accept-Language", "en"}};
    request.content_type = "application/x-www-form-urlencoded";
    request.body = http::form_encode({{"script", companion_install_script()}});
    const auto reply = farm.adapter.client.call(request, std::nullopt);
    REQUIRE(reply);
    return read_companion_base(reply->body);
  }();
  REQUIRE(other);
  farm.scripts();
  farm.schedule();
  const CompanionAnswer answer = farm.ask();
  CHECK_FALSE(answer.is_base);
  CHECK(answer.queue.items.size() == 2);
  farm.executor("x1");
  farm.adapter.client.pass(seconds(1));
  CHECK(told(farm.ask(milliseconds(1)).nodes) == "online x1; accepted x1 job/app/; ");
}

}  // namespace skep::scheduler::companion_test
