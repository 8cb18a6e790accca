#include <catch2/catch.hpp>

#include <set>

#include "core/prng.h"
#include "join/core/join_logic.h"

namespace join_logic_test {

using namespace skep;
using namespace skep::join;

namespace {

/// skep-join's logic in virtual time, with a shell that does what it is told.
struct World {
  explicit World(Options options = with_command()) : logic(std::move(options)) {}
  static Options with_command() {
    Options options;
    options.agent_command = {"agent", "{name}"};
    options.secret_file = "/s/secret";
    options.work_dir = "/w";
    options.agent_jar = "/s/agent.jar";
    return options;
  }
  static Options with_jar() {
    Options options = with_command();
    options.agent_command.clear();
    return options;
  }

  const std::vector<Action>& feed(const Event& event) {
    last = logic.handle(event, now);
    for (const Action& action : last) {
      if (const auto* end = std::get_if<End>(&action)) exit_code = end->exit_code;
      if (std::get_if<StartAgent>(&action) != nullptr) ++starts;
      if (const auto* status = std::get_if<WriteStatus>(&action)) statuses.push_back(*status);
    }
    return last;
  }
  /// Lets time pass up to the next deadline.
  const std::vector<Action>& wait() {
    REQUIRE(logic.next_deadline());
    REQUIRE(*logic.next_deadline() >= now);
    now = *logic.next_deadline();
    return feed(Tick{});
  }
  template <typename T>
  const T* find() const {
    for (const Action& action : last) {
      if (const auto* found = std::get_if<T>(&action)) return found;
    }
    return nullptr;
  }
  void ticket(std::uint32_t attempt = 1, const std::string& url = "http://h/j/") {
    feed(TicketArrived{Ticket{url, "n1", "secret", attempt}, {}});
  }
  void run_agent() {
    ticket();
    REQUIRE(find<StartAgent>() != nullptr);
    feed(AgentStarted{true, ""});
  }
  void connect() {
    run_agent();
    feed(AgentSaid{"hudson.remoting.Launcher$CuiListener status"});
    feed(AgentSaid{"INFO: Connected"});
  }

  JoinLogic logic;
  Instant now{};
  std::vector<Action> last;
  std::vector<WriteStatus> statuses;
  std::optional<int> exit_code;
  int starts = 0;
};

}  // namespace

TEST_CASE("join: the default command is the one of remoting, with the secret in a file", "[unit][join]") {
  World world(World::with_jar());
  world.ticket();
  REQUIRE(world.find<FetchJar>() != nullptr);
  CHECK(world.find<FetchJar>()->url == "http://h/j/jnlpJars/agent.jar");
  world.feed(JarFetched{true, false, ""});
  REQUIRE(world.find<StartAgent>() != nullptr);
  CHECK(world.find<StartAgent>()->argv == std::vector<std::string>{"java", "-jar", "/s/agent.jar", "-url",
                                                                   "http://h/j/", "-secret", "@/s/secret",
                                                                   "-name", "n1", "-workDir", "/w",
                                                                   "-webSocket", "-noReconnect"});
  CHECK(world.find<StartAgent>()->secret == "secret");
}

TEST_CASE("join: placeholders are filled in once, wherever they are", "[unit][join]") {
  Options options = World::with_command();
  options.agent_command = {"{work_dir}/run", "--at={url}{name}", "{secret}", "{", "{{name}}"};
  const Ticket ticket{"http://h/{name}/", "n1", "secret", 1};
  CHECK(agent_argv(options, ticket) ==
        std::vector<std::string>{"/w/run", "--at=http://h/{name}/n1", "{secret}", "{", "{n1}"});
  CHECK_FALSE(needs_jar(options));
  options.agent_command.emplace_back("x{agent_jar}");
  CHECK(needs_jar(options));
}

TEST_CASE("join: what counts as a connection", "[unit][join]") {
  CHECK(says_connected("INFO: Connected"));
  CHECK(says_connected("INFO: Connected\r"));
  CHECK(says_connected("INFORMATION: Connected"));
  CHECK_FALSE(says_connected("INFO: Connected to ci.example"));
  CHECK_FALSE(says_connected("INFO: Not Connected yet"));
  CHECK_FALSE(says_connected("Connected"));
  CHECK_FALSE(says_connected(""));
  CHECK(says_terminated("INFO: Terminated"));
  CHECK_FALSE(says_terminated("INFO: Connected"));
}

TEST_CASE("join: connected, and the secret goes; the agent's end is not the sandbox's end", "[unit][join]") {
  World world;
  world.connect();
  CHECK(world.find<RemoveSecret>() != nullptr);
  REQUIRE(world.statuses.size() == 2);
  CHECK(world.statuses[0].phase == AgentPhase::started);
  CHECK(world.statuses[1].phase == AgentPhase::connected);
  CHECK_FALSE(world.logic.next_deadline());
  const int code = GENERATE(0, 1, 143, 255);  // says nothing: it differs between versions
  world.feed(AgentEnded{code});
  CHECK_FALSE(world.exit_code);
  CHECK(world.statuses.back().phase == AgentPhase::ended);
  CHECK(world.statuses.back().exit_code == code);
  CHECK(world.starts == 1);
  SECTION("a new ticket lets the node join again") {
    world.ticket(2);
    CHECK(world.starts == 2);
    world.feed(AgentStarted{true, ""});
    world.feed(AgentSaid{"INFO: Connected"});
    CHECK(world.statuses.back().phase == AgentPhase::connected);
    CHECK(world.statuses.back().attempt == 2);
  }
  SECTION("the same ticket or an older one does not") {
    world.ticket(1);
    world.ticket(0);
    CHECK(world.starts == 1);
  }
  SECTION("without one it ends, in bounded time") {
    world.wait();
    CHECK(world.exit_code == exit_lingered);
    CHECK(world.now == Instant{} + minutes(10));
  }
  SECTION("asked to end, it ends at once") {
    world.feed(EndAsked{});
    CHECK(world.exit_code == exit_asked);
  }
}

TEST_CASE("join: an agent that is refused at once is tried again twice, with a pause that grows",
          "[unit][join]") {
  World world;
  world.run_agent();
  std::vector<Duration> pauses;
  for (int i = 0; i < 2; ++i) {
    const Instant ended = world.now;
    world.feed(AgentEnded{255});
    CHECK(world.find<RemoveSecret>() != nullptr);
    world.wait();
    pauses.push_back(world.now - ended);
    REQUIRE(world.find<StartAgent>() != nullptr);
    world.feed(AgentStarted{true, ""});
  }
  CHECK(pauses == std::vector<Duration>{seconds(1), seconds(2)});
  world.feed(AgentEnded{255});
  CHECK(world.starts == 3);
  CHECK(world.statuses.back().phase == AgentPhase::ended);
  world.wait();
  CHECK(world.exit_code == exit_lingered);
}

TEST_CASE("join: an agent that tries for ever is ended: soft, then hard", "[unit][join]") {
  World world;
  SECTION("it never had a connection") {
    world.run_agent();
    world.feed(
        AgentSaid{"Nov 22, 2026 5:00:00 PM org.jenkinsci.remoting.engine.WebSocketConnector tryConnect"});
  }
  SECTION("its node was deleted") {
    world.connect();
    world.now += hours(2);
    world.feed(AgentSaid{"INFO: Terminated"});
  }
  const Instant begin = world.now;
  world.wait();
  CHECK(world.now - begin == minutes(3));
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK_FALSE(world.find<StopAgent>()->is_hard);
  world.feed(AgentSaid{"INFO: Connected"});  // too late
  world.wait();
  CHECK(world.now - begin == minutes(3) + seconds(5));
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK(world.find<StopAgent>()->is_hard);
  world.feed(AgentEnded{137});
  CHECK(world.starts == 1);
  CHECK(world.statuses.back().phase == AgentPhase::ended);
  world.wait();
  CHECK(world.exit_code == exit_lingered);
}

TEST_CASE("join: a lost connection that comes back in time is no reason to end anything", "[unit][join]") {
  World world;
  world.connect();
  for (int i = 0; i < 5; ++i) {
    world.feed(AgentSaid{"INFO: Terminated"});
    world.now += minutes(2);
    world.feed(Tick{});
    CHECK(world.find<StopAgent>() == nullptr);
    world.feed(AgentSaid{"INFO: Connected"});
    CHECK_FALSE(world.logic.next_deadline());
  }
  CHECK(world.statuses.size() == 2);
}

TEST_CASE("join: an agent whose log we cannot see is never ended for its silence", "[unit][join]") {
  World world;
  world.run_agent();
  world.feed(AgentSaid{"starting my own wrapper"});
  world.wait();
  CHECK(world.find<StopAgent>() == nullptr);
  CHECK_FALSE(world.logic.next_deadline());
  CHECK_FALSE(world.exit_code);
}

TEST_CASE("join: a new ticket while the agent runs ends that agent first", "[unit][join]") {
  World world;
  world.connect();
  world.ticket(2);
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK_FALSE(world.find<StopAgent>()->is_hard);
  world.ticket(3);  // the newest counts
  CHECK(world.find<StopAgent>() == nullptr);
  world.wait();
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK(world.find<StopAgent>()->is_hard);
  CHECK(world.starts == 1);
  world.feed(AgentEnded{137});
  CHECK(world.starts == 2);
  world.feed(AgentStarted{true, ""});
  CHECK(world.statuses.back().attempt == 3);
}

TEST_CASE("join: agent.jar that does not come", "[unit][join]") {
  World world(World::with_jar());
  world.ticket();
  SECTION("for now: four more tries, then the end") {
    int tries = 0;
    while (!world.exit_code) {
      REQUIRE(++tries < 10);
      world.feed(JarFetched{false, true, "starting"});
      if (!world.exit_code) {
        world.wait();
        REQUIRE(world.find<FetchJar>() != nullptr);
      }
    }
    CHECK(tries == 5);
    CHECK(world.now == Instant{} + seconds(1 + 2 + 4 + 8));
  }
  SECTION("never") {
    world.feed(JarFetched{false, false, "a login page"});
  }
  CHECK(world.exit_code == exit_no_jar);
  CHECK(world.statuses.back().phase == AgentPhase::ended);
  CHECK(world.starts == 0);
}

TEST_CASE("join: agent.jar is fetched once per controller", "[unit][join]") {
  World world(World::with_jar());
  world.ticket();
  world.feed(JarFetched{true, false, ""});
  world.feed(AgentStarted{true, ""});
  world.feed(AgentSaid{"INFO: Connected"});
  world.feed(AgentEnded{0});
  world.ticket(2);
  CHECK(world.find<FetchJar>() == nullptr);
  CHECK(world.find<StartAgent>() != nullptr);
  world.feed(AgentStarted{true, ""});
  world.feed(AgentEnded{0});
  world.ticket(3, "http://other/");
  REQUIRE(world.find<FetchJar>() != nullptr);
  CHECK(world.find<FetchJar>()->url == "http://other/jnlpJars/agent.jar");
}

TEST_CASE("join: a broken ticket ends it at the start only", "[unit][join]") {
  World world;
  SECTION("first") {
    world.feed(TicketBroken{"why"});
    CHECK(world.exit_code == exit_bad_ticket);
  }
  SECTION("later") {
    world.connect();
    world.feed(TicketBroken{"why"});
    CHECK_FALSE(world.exit_code);
    CHECK(world.last.empty());
  }
}

TEST_CASE("join: an agent that cannot be started", "[unit][join]") {
  World world;
  world.ticket();
  world.feed(AgentStarted{false, "no java"});
  CHECK(world.exit_code == exit_not_started);
  CHECK(world.find<RemoveSecret>() != nullptr);
  CHECK(world.statuses.back().message == "no java");
}

TEST_CASE("join: asked to end while the agent runs: soft, hard when asked again or late, then 0",
          "[unit][join]") {
  World world;
  world.connect();
  world.feed(EndAsked{});
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK_FALSE(world.find<StopAgent>()->is_hard);
  if (GENERATE(true, false)) {
    world.feed(EndAsked{});
  } else {
    world.wait();
  }
  REQUIRE(world.find<StopAgent>() != nullptr);
  CHECK(world.find<StopAgent>()->is_hard);
  world.ticket(2);  // too late
  world.feed(AgentEnded{137});
  CHECK(world.exit_code == exit_asked);
  CHECK(world.starts == 1);
  CHECK(world.feed(Tick{}).empty());
}

TEST_CASE("join: in every course of events there is one agent at most, and an end within bounded time",
          "[unit][join][random]") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 400));
  INFO("seed " << seed << "; replay: join_unit_test '[random]'");
  Prng prng(seed);
  World world(seed % 2 == 0 ? World::with_jar() : World::with_command());
  bool has_agent = false, is_fetching = false, is_starting = false, has_secret = false;
  std::uint32_t attempt = 0;
  const auto follow = [&] {
    for (const Action& action : world.last) {
      if (std::get_if<FetchJar>(&action) != nullptr) {
        CHECK_FALSE(is_fetching);
        is_fetching = true;
      }
      if (std::get_if<StartAgent>(&action) != nullptr) {
        CHECK_FALSE((has_agent || is_starting));
        is_starting = has_secret = true;
      }
      if (std::get_if<RemoveSecret>(&action) != nullptr) has_secret = false;
      if (std::get_if<End>(&action) != nullptr) {
        CHECK_FALSE(has_agent);
        CHECK_FALSE(has_secret);
      }
    }
  };
  const auto feed = [&](const Event& event) {
    world.feed(event);
    follow();
  };
  for (int step = 0; step < 60 && !world.exit_code; ++step) {
    world.now += milliseconds(static_cast<std::int64_t>(prng.below(20'000)));
    switch (prng.below(9)) {
      case 0:
        attempt += static_cast<std::uint32_t>(prng.below(2)) + (attempt == 0 ? 1 : 0);
        feed(TicketArrived{Ticket{"http://h/", "n1", "s", attempt}, {}});
        break;
      case 1:
        if (std::exchange(is_fetching, false)) feed(JarFetched{prng.below(3) != 0, true, ""});
        break;
      case 2:
      case 3:
        if (std::exchange(is_starting, false)) {
          has_agent = prng.below(8) != 0;
          feed(AgentStarted{has_agent, ""});
        }
        break;
      case 4:
        if (has_agent) feed(AgentSaid{prng.below(2) == 0 ? "INFO: Connected" : "INFO: Terminated"});
        break;
      case 5:
        if (std::exchange(has_agent, false)) feed(AgentEnded{255});
        break;
      case 6:
        if (prng.below(12) == 0) feed(EndAsked{});
        break;
      default:
        feed(Tick{});
    }
  }
  // From here on the shell answers at once, and nobody sends a ticket: it must come to an end.
  if (attempt == 0 && !world.exit_code) feed(TicketBroken{""});
  for (int step = 0; step < 100 && !world.exit_code; ++step) {
    if (std::exchange(is_fetching, false)) {
      feed(JarFetched{false, true, ""});
    } else if (std::exchange(is_starting, false)) {
      has_agent = true;
      feed(AgentStarted{true, ""});
      feed(AgentSaid{"hudson.remoting.Launcher$CuiListener status"});
    } else if (has_agent && world.find<StopAgent>() != nullptr) {
      has_agent = false;
      feed(AgentEnded{143});
    } else if (world.logic.next_deadline()) {
      world.now = std::max(world.now, *world.logic.next_deadline());
      feed(Tick{});
    } else {
      REQUIRE(has_agent);  // connected: it lives as long as its build
      has_agent = false;
      feed(AgentEnded{0});
    }
  }
  CHECK(world.exit_code);
  CHECK(world.now - Instant{} < hours(1));
}

}  // namespace join_logic_test
