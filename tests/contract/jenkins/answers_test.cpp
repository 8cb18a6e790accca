// What the adapter makes of every recorded answer to createSlave, of every order about a node, and of every
// error page.
#include "scheduler/jenkins/answers.h"

#include <catch2/catch.hpp>
#include <map>

#include "tests/contract/jenkins/clients.h"

namespace skep::scheduler::answers_test {
namespace {

using recordings::Exchange;
using recordings::Recording;

std::string path_of(const Exchange& exchange) {
  return exchange.target.substr(0, exchange.target.find('?'));
}

/// "name=c1&executors=1&..." or the query: the value of one field, decoded.
std::string field_of(const Exchange& exchange, const std::string& name) {
  std::string text = exchange.body;
  if (text.empty() && exchange.target.find('?') != std::string::npos)
    text = exchange.target.substr(exchange.target.find('?') + 1);
  const std::size_t at = ("&" + text).find("&" + name + "=");
  if (at == std::string::npos) return {};
  std::string out;
  for (std::size_t i = at + name.size() + 1; i < text.size() && text[i] != '&'; ++i) {
    if (text[i] == '%') {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

template <typename Visit>
void for_each_request(Visit visit) {
  for (const Recording& recording : recordings::all()) {
    for (const Exchange& exchange : recording.exchanges) {
      if (exchange.is_event()) continue;
      INFO(recording.file << " step " << exchange.index << ": " << exchange.step);
      visit(recording, exchange);
    }
  }
}

}  // namespace

TEST_CASE("every recorded answer to createSlave", "[contract]") {
  std::map<int, std::size_t> seen;
  for_each_request([&](const Recording&, const Exchange& exchange) {
    if (exchange.method != "POST" || path_of(exchange) != "/plugin/swarm/createSlave") return;
    std::string node = field_of(exchange, "name");
    const std::string hash = field_of(exchange, "hash");
    if (!hash.empty()) node += "-" + hash;  // Skep sends none: it asks for the final name
    const auto created = read_created(reply_of(exchange), node);
    const int status = exchange.answer.status;
    ++seen[status];
    if (status == 200) {
      REQUIRE(created);
      CHECK(*created == std::string(64, '5'));
      // The same answer about another name is not ours.
      const auto other = read_created(reply_of(exchange), node + "x");
      REQUIRE_FALSE(other);
      CHECK(other.error().outcome == Outcome::unknown);
      return;
    }
    REQUIRE_FALSE(created);
    CHECK(created.error().message.find("creating node " + node) == 0);
    CHECK(created.error().outcome == Outcome::failed);  // a recorded refusal leaves no node behind
    switch (status) {
      case 400:  // a name that Jenkins does not take
        CHECK(created.error().code == ErrorCode::invalid_input);
        break;
      case 403:
        CHECK(created.error().code == ErrorCode::permission_denied);
        break;
      case 409:
        CHECK(created.error().code == ErrorCode::conflict);
        break;
      case 500:  // mode, tool or length of the name
        CHECK(created.error().code == ErrorCode::generic);
        break;
      default:
        FAIL("a status that no case expects: " << status);
    }
  });
  for (const int status : {200, 400, 403, 409, 500}) {
    INFO(status);
    CHECK(seen[status] >= 2);
  }
}

TEST_CASE("createSlave: what was not recorded", "[contract]") {
  const http::Headers plain{{"Content-Type", "text/plain;charset=iso-8859-1"}};
  const http::Headers page{{"Content-Type", "text/html"}};
  const http::Headers jenkins{{"Content-Type", "text/html;charset=utf-8"}, {"X-Jenkins", "2.528.3"}};
  struct Row {
    http::Reply reply;
    ErrorCode code;
    Outcome outcome;
  };
  const Row rows[] = {
      // A FormException inside: 200 and nothing. An old plugin: no secret, and yet there is a node.
      {reply_of(200, plain, ""), ErrorCode::malformed_reply, Outcome::unknown},
      {reply_of(200, plain, "#\n#Mon Nov 23 02:51:14 UTC 2026\nname=n1\n"), ErrorCode::malformed_reply,
       Outcome::unknown},
      {reply_of(200, plain, "#\nname=n1\nsecret=\n"), ErrorCode::malformed_reply, Outcome::unknown},
      {reply_of(200, plain, "#\nsecret=5555\n"), ErrorCode::malformed_reply, Outcome::unknown},
      {reply_of(200, page, "<html><body>Please log in</body></html>"), ErrorCode::malformed_reply,
       Outcome::unknown},
      {reply_of(302, {{"Location", "https://sso.example/login?from=%2F"}}, ""), ErrorCode::unauthenticated,
       Outcome::failed},
      {reply_of(302, {{"Location", "/securityRealm/commenceLogin?from=%2F"}}, ""), ErrorCode::unauthenticated,
       Outcome::failed},
      {reply_of(302, {{"Location", "https://elsewhere.example/"}}, ""), ErrorCode::malformed_reply,
       Outcome::unknown},
      {reply_of(404, jenkins, "Not Found"), ErrorCode::not_found, Outcome::failed},
      {reply_of(404, page, "nginx"), ErrorCode::not_found, Outcome::failed},
      {reply_of(413, page, "nginx"), ErrorCode::generic, Outcome::failed},
      {reply_of(429, page, "slow down"), ErrorCode::unavailable, Outcome::try_again},
      {reply_of(500, jenkins, "A problem occurred"), ErrorCode::generic, Outcome::failed},
      {reply_of(500, page, "proxy error"), ErrorCode::unavailable, Outcome::unknown},
      {reply_of(502, page, "bad gateway"), ErrorCode::unavailable, Outcome::unknown},
      {reply_of(503, page, "Starting Jenkins"), ErrorCode::unavailable, Outcome::try_again},
      {reply_of(503, jenkins, "a 503 of a Jenkins that runs"), ErrorCode::unavailable, Outcome::unknown},
      {reply_of(504, page, "gateway timeout"), ErrorCode::unavailable, Outcome::unknown},
  };
  for (const Row& row : rows) {
    INFO(row.reply.status << " " << row.reply.body);
    const auto created = read_created(row.reply, "n1");
    REQUIRE_FALSE(created);
    CHECK(static_cast<int>(created.error().code) == static_cast<int>(row.code));
    CHECK(static_cast<int>(created.error().outcome) == static_cast<int>(row.outcome));
  }
}

TEST_CASE("every recorded answer to an order about a node", "[contract]") {
  std::size_t carried_out = 0, refused = 0;
  for_each_request([&](const Recording&, const Exchange& exchange) {
    const bool is_order = exchange.method == "POST" && (path_of(exchange).ends_with("/changeOfflineCause") ||
                                                        path_of(exchange).ends_with("/toggleOffline") ||
                                                        path_of(exchange).ends_with("/doDelete"));
    if (!is_order || exchange.as.find("token") != 0) return;
    const auto checked = check_node_order(reply_of(exchange), "x");
    const int status = exchange.answer.status;
    CHECK(checked.has_value() == (status == 302));
    checked ? ++carried_out : ++refused;
    if (checked) return;
    CHECK(checked.error().outcome == Outcome::failed);
    const ErrorCode expected = status == 403 && exchange.answer.page->title == "Jenkins"
                                   ? ErrorCode::permission_denied
                               : status == 403 ? ErrorCode::unauthenticated
                               : status == 404 ? ErrorCode::not_found
                                               : ErrorCode::generic;
    CHECK(static_cast<int>(checked.error().code) == static_cast<int>(expected));
  });
  CHECK(carried_out > 50);
  CHECK(refused > 10);
}

TEST_CASE("every recorded error page says what is wrong", "[contract]") {
  const std::map<std::string, std::string> permissions{
      {"hudson.model.Hudson.Read", "Overall/Read"},
      {"hudson.model.Hudson.Administer", "Overall/Administer"},
      {"hudson.model.Computer.Create", "Agent/Create"},
      {"hudson.model.Computer.Configure", "Agent/Configure"},
      {"hudson.model.Computer.Delete", "Agent/Delete"},
      {"hudson.model.Computer.Disconnect", "Agent/Disconnect"},
  };
  std::map<std::string, std::size_t> named;
  for_each_request([&](const Recording&, const Exchange& exchange) {
    const int status = exchange.answer.status;
    if (status < 400) return;
    const http::Reply reply = reply_of(exchange);
    const Error read = error_of(reply, "reading x", Asked::read),
                order = error_of(reply, "ordering x", Asked::order);
    CHECK(read.outcome == Outcome::unknown);  // a read that failed says nothing about the world
    CHECK(read.code == order.code);
    CHECK(read.message.find("reading x: ") == 0);
    const bool is_refused = status < 500;
    if (is_refused) CHECK(order.outcome == Outcome::failed);
    const std::string required = exchange.answer.header("X-Required-Permission");
    const bool is_jenkins = !exchange.answer.header("X-Jenkins").empty();
    if (!required.empty()) {
      REQUIRE(permissions.count(required) == 1);
      const std::string& name = permissions.at(required);
      CHECK(missing_permission(reply) == name);
      CHECK(read.code == ErrorCode::permission_denied);
      CHECK(read.message.find("lacks " + name) != std::string::npos);
      CHECK(read.hint.find(name) != std::string::npos);
      ++named[name];
      return;
    }
    CHECK(missing_permission(reply).empty());
    switch (status) {
      case 401:
        CHECK(read.code == ErrorCode::unauthenticated);
        break;
      case 403: {
        const bool wants_crumb =
            exchange.answer.page->message == "No valid crumb was included in the request";
        CHECK(read.code == (wants_crumb ? ErrorCode::unauthenticated : ErrorCode::permission_denied));
        CHECK((read.message.find("crumb") != std::string::npos) == wants_crumb);
        break;
      }
      case 404:
        CHECK(read.code == ErrorCode::not_found);
        CHECK(is_absent(reply) == is_jenkins);
        break;
      case 409:
        CHECK(read.code == ErrorCode::conflict);
        break;
      case 500:
        CHECK(read.code == ErrorCode::unavailable);
        CHECK(order.outcome == Outcome::unknown);
        break;
      case 503:  // "Starting Jenkins"
        CHECK_FALSE(is_jenkins);
        CHECK(read.code == ErrorCode::unavailable);
        CHECK(order.outcome == Outcome::try_again);
        break;
      default:
        CHECK((status == 400 || status == 405 || status == 422));
        CHECK(read.code == ErrorCode::generic);
    }
  });
  for (const auto& [id, name] : permissions) {
    INFO(name);
    CHECK(named[name] >= 1);
  }
}

TEST_CASE("a node order is carried out when Jenkins leads to the node or to the list, whatever its address",
          "[contract]") {
  const auto redirect = [](const std::string& location) {
    return reply_of(302, {{"Location", location}}, "");
  };
  for (const char* location : {"/computer/n1/", "/computer/", "/jenkins/computer/n1/", "/jenkins/computer/",
                               "https://ci.example/jenkins/computer/n1/", "http://127.0.0.1:8080/computer/",
                               ".", "..", "/computer/n1", "/computer/login/", "/computer/n%C3%BC/"}) {
    INFO(location);
    CHECK(check_node_order(redirect(location), "x"));
  }
  for (const char* location :
       {"/login?from=%2Fcomputer%2Fn1%2F", "/jenkins/login?from=%2Fcomputer%2F",
        "/securityRealm/commenceLogin?from=/computer/n1/",
        "https://sso.example/oauth2/authorize?x=/computer/", "https://sso.example/saml/login"}) {
    INFO(location);
    const auto checked = check_node_order(redirect(location), "x");
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code == ErrorCode::unauthenticated);
    CHECK(checked.error().outcome == Outcome::failed);
  }
  for (const char* location :
       {"", "/", "/jenkins/", "https://ci.example/", "/computers/n1/", "/computer/n1/log"}) {
    INFO(location);
    const auto checked = check_node_order(redirect(location), "x");
    REQUIRE_FALSE(checked);
    CHECK(checked.error().outcome == Outcome::unknown);
  }
}

}  // namespace skep::scheduler::answers_test
