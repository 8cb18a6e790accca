// The comparison itself: whatever could differ is seen when it does.
#include "tests/contract/controller_sim/likeness.h"

#include <catch2/catch.hpp>

namespace skep::controller_sim::likeness_test {
namespace {

using recordings::Exchange;

constexpr std::int64_t wall_ms = 1'795'402'274'000;

/// The recorded answer as the stand-in would give it.
HttpReply as_recorded(const Exchange& exchange) {
  HttpReply reply;
  reply.status = exchange.answer.status;
  reply.headers = exchange.answer.headers;
  if (exchange.answer.json) reply.body = exchange.answer.json->dump();
  if (exchange.answer.body) reply.body = *exchange.answer.body;
  if (exchange.answer.page) {
    reply.body = "<title>" + exchange.answer.page->title.value_or("") + "</title><p>" +
                 exchange.answer.page->message.value_or("") + "</p><!-- ";
    reply.body += std::string(exchange.answer.page->bytes - reply.body.size() - 4, 'x') + " -->";
  }
  return reply;
}

std::size_t differences(const Exchange& exchange, const HttpReply& reply) {
  Likeness likeness;
  return likeness.differences(exchange, reply, wall_ms).size();
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  INFO(what << " in " << text.substr(0, 400));
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

struct Mutation {
  const char* file;
  const char* step;
  const char* what;
  const char* by;
};

}  // namespace

TEST_CASE("an answer that is as recorded has no differences, and one that is not has", "[contract]") {
  const Mutation mutations[] = {
      {"03-why-texts.json", "queue with only an offline sentinel", "no nodes with the label ‘linux’",
       "no nodes with the label ‘Linux’"},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"stuck\":true", "\"stuck\":false"},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"stuck\":true,", ""},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"stuck\":true",
       "\"stuck\":true,\"other\":1"},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"id\":10703", "\"id\":10702"},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"id\":10703", "\"id\":\"10703\""},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"timestamp\":1795402334273",
       "\"timestamp\":1795402334274"},
      {"03-why-texts.json", "queue with only an offline sentinel",
       "\"buildableStartMilliseconds\":1795402274271", "\"buildableStartMilliseconds\":1795402"},
      {"03-why-texts.json", "queue with only an offline sentinel", "\"name\":\"quiet\"", "\"name\":null"},
      {"03-why-texts.json", "nodes, none connected", "{\"name\":\"swarm\"},", ""},
      {"03-why-texts.json", "create node n1, not connected", "name=n1\n", "name=n2\n"},
      {"03-why-texts.json", "create node n1, not connected", "secret=5555", "secret=zzzz"},
      {"08-offline-gate.json", "who built what", "\"builtOn\":\"g3\"", "\"builtOn\":\"g2\""},
      {"08-offline-gate.json", "who built what", "\"duration\":2080", "\"duration\":-1"},
      {"11-script-console.json", "labels of all items", "10723 linux&&x86", "10724 linux&&x86"},
      {"11-script-console.json", "a failing script still answers 200", "boom", "bang"},
      {"02-tree-and-errors.json", "GET /queue/item/99999/api/json", "Not Found [Jenkins]",
       "Not Found - Jenkins"},
      {"02-tree-and-errors.json", "GET /queue/item/99999/api/json", "you may not have permission",
       "you may have permission"},
      {"01-authentication.json", "wrong token", "Error 401", "Error 403"},
      {"16-companion.json", "the rest", "2 buildable", "2 blocked"},
      {"16-companion.json", "the rest", " 10849 ", " 10850 \n3 waiting 10849 "},
  };
  for (const Mutation& mutation : mutations) {
    const Exchange& exchange =
        recordings::of(std::string("jenkins-2.479.3/") + mutation.file).step(mutation.step);
    INFO(mutation.file << " " << mutation.step << ": " << mutation.what << " -> " << mutation.by);
    HttpReply reply = as_recorded(exchange);
    CHECK(differences(exchange, reply) == 0);
    reply.body = replaced(reply.body, mutation.what, mutation.by);
    CHECK(differences(exchange, reply) > 0);
  }
}

TEST_CASE("status, headers and the length of a page are compared", "[contract]") {
  const recordings::Recording& recording = recordings::of("jenkins-2.479.3/14-permissions.json");
  for (const Exchange& exchange : recording.exchanges) {
    if (exchange.is_event()) continue;
    INFO(exchange.step);
    HttpReply reply = as_recorded(exchange);
    reply.status += 1;
    CHECK(differences(exchange, reply) == 1);
    for (std::size_t i = 0; i < exchange.answer.headers.size(); ++i) {
      const std::string& name = exchange.answer.headers[i].first;
      if (name == "Transfer-Encoding" || name == "Content-Length") continue;
      INFO(name);
      reply = as_recorded(exchange);
      reply.headers.erase(reply.headers.begin() + static_cast<std::ptrdiff_t>(i));
      CHECK(differences(exchange, reply) == 1);
      reply = as_recorded(exchange);
      reply.headers.emplace_back("X-Surplus", "1");
      CHECK(differences(exchange, reply) == 1);
    }
    if (!exchange.answer.page) continue;
    reply = as_recorded(exchange);
    reply.body += std::string(reply.body.size() / 4, 'x');
    CHECK(differences(exchange, reply) == 1);
  }
}

TEST_CASE("what is one thing in the recording is one thing here", "[contract]") {
  const recordings::Recording& recording = recordings::of("jenkins-2.479.3/05-item-life.json");
  const Exchange& first = recording.step("schedule serial");
  const Exchange& second = recording.step("schedule serial again");
  Likeness likeness;
  HttpReply reply = as_recorded(first);
  CHECK(likeness.differences(first, reply, wall_ms).empty());
  CHECK(likeness.translated("/queue/item/10711/api/json") == "/queue/item/10711/api/json");
  // The same address again for what was another item there.
  reply.headers = first.answer.headers;
  CHECK_FALSE(likeness.differences(second, reply, wall_ms).empty());

  const recordings::Recording& restart = recordings::of("jenkins-2.479.3/13-controller-restart.json");
  Likeness sessions;
  const Exchange& before = restart.step("session before");
  const Exchange& after = restart.step("queue after: same ids");
  CHECK(sessions.differences(before, as_recorded(before), wall_ms).empty());
  HttpReply stale = as_recorded(after);
  for (auto& [name, value] : stale.headers) {
    if (name == "X-Jenkins-Session") value = before.answer.header("X-Jenkins-Session");
  }
  CHECK_FALSE(sessions.differences(after, stale, wall_ms).empty());

  const Exchange& created = restart.step("create r1");
  Likeness secrets;
  CHECK(secrets.differences(created, as_recorded(created), wall_ms).empty());
  HttpReply other = as_recorded(created);
  other.body = replaced(other.body, "secret=5", "secret=4");
  CHECK_FALSE(secrets.differences(created, other, wall_ms).empty());
}

}  // namespace skep::controller_sim::likeness_test
