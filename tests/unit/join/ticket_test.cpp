#include <catch2/catch.hpp>

#include "join/ticket.h"

namespace ticket_test {

using namespace skep;
using namespace skep::join;

TEST_CASE("ticket: what agentd writes is read", "[unit][join]") {
  const auto ticket = parse_ticket(
      R"({"url":"https://ci.example:8443/jenkins","node_name":"n1","secret":"abc","attempt":4294967295,"later":{}})");
  REQUIRE(ticket);
  CHECK(ticket->ticket == Ticket{"https://ci.example:8443/jenkins/", "n1", "abc", 4294967295u});
  CHECK(ticket->agent_command.empty());
  const auto command = parse_ticket(
      R"({"url":"http://h/","node_name":"n1","secret":"abc","attempt":1,"agent_command":["sh","-c","a b"]})");
  REQUIRE(command);
  CHECK(command->ticket.url == "http://h/");
  CHECK(command->agent_command == std::vector<std::string>{"sh", "-c", "a b"});
  CHECK(parse_ticket(
      R"({"url":"http://h/","node_name":"n1","secret":"abc","attempt":1,"agent_command":null})"));
}

TEST_CASE("ticket: anything else is refused, says what is wrong, and never shows the secret",
          "[unit][join]") {
  struct Case {
    std::string field, value, says;
  };
  const std::string quote = "\"";
  const std::vector<Case> cases{
      {"url", "\"\"", "url"},
      {"url", "\"ftp://h/\"", "url"},
      {"url", "\"http://\"", "url"},
      {"url", "\"https://\"", "url"},
      {"url", "\"http://h/ x\"", "url"},
      {"url", "\"http://h/\\n\"", "url"},
      {"url", "\"http://h/\\u0000\"", "url"},
      {"url", quote + "http://" + std::string(max_url_chars, 'h') + quote, "url"},
      {"url", "7", "url"},
      {"node_name", "\"\"", "node_name"},
      {"node_name", "\"@/etc/passwd\"", "node_name"},
      {"node_name", "\"-webSocket\"", "node_name"},
      {"node_name", "\"../x\"", "node_name"},
      {"node_name", quote + std::string(61, 'n') + quote, "node_name"},
      {"node_name", "null", "node_name"},
      {"secret", "\"\"", "secret"},
      {"secret", "\"s3cr3t two\"", "secret"},
      {"secret", "\"s3cr3t\\nX\"", "secret"},
      {"secret", quote + "s3cr3t" + std::string(max_secret_chars, 's') + quote, "secret"},
      {"secret", "[\"s3cr3t\"]", "secret"},
      {"attempt", "0", "attempt"},
      {"attempt", "-1", "attempt"},
      {"attempt", "4294967296", "attempt"},
      {"attempt", "18446744073709551615", "attempt"},
      {"attempt", "1.5", "attempt"},
      {"attempt", "\"1\"", "attempt"},
      {"agent_command", "\"sh\"", "agent_command"},
      {"agent_command", "[1]", "agent_command"},
      {"agent_command", "[\"\"]", "agent_command"},
      {"agent_command", "[\"sh\",\"a\\u0000b\"]", "agent_command"},
  };
  for (const Case& one : cases) {
    std::string text = "{";
    for (const auto& [field, value] : {std::pair<std::string, std::string>{"url", "\"http://h/\""},
                                       {"node_name", "\"n1\""},
                                       {"secret", "\"s3cr3t\""},
                                       {"attempt", "1"},
                                       {"agent_command", "[]"}}) {
      text += (text.size() > 1 ? ",\"" : "\"") + field + "\":" + (field == one.field ? one.value : value);
    }
    text += "}";
    INFO(text.substr(0, 200));
    const auto ticket = parse_ticket(text);
    REQUIRE_FALSE(ticket);
    INFO(ticket.error().message);
    CHECK(ticket.error().code == ErrorCode::invalid_input);
    CHECK(ticket.error().message.find(one.says) != std::string::npos);
    CHECK(ticket.error().message.find("s3cr3t") == std::string::npos);
  }
}

TEST_CASE("ticket: text that is no object, is cut short or too long", "[unit][join]") {
  const std::string good = R"({"url":"http://h/","node_name":"n1","secret":"s3cr3t","attempt":1})";
  REQUIRE(parse_ticket(good));
  for (std::size_t size = 0; size < good.size(); ++size) CHECK_FALSE(parse_ticket(good.substr(0, size)));
  for (const std::string& text :
       {std::string("[]"), std::string("null"), good + good, good + "x", "\xEF\xBB\xBF" + good,
        std::string(
            R"({"url":"http://h/","url":"http://i/","node_name":"n1","secret":"s3cr3t","attempt":1})"),
        good + std::string(max_ticket_bytes, ' '), std::string(10'000, '[')}) {
    const auto ticket = parse_ticket(text);
    REQUIRE_FALSE(ticket);
    CHECK(ticket.error().message.find("s3cr3t") == std::string::npos);
  }
}

}  // namespace ticket_test
