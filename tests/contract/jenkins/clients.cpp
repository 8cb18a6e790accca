#include "tests/contract/jenkins/clients.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "tests/contract/support/base64.h"
#include "tests/contract/support/used_requests.h"

namespace skep::scheduler {
namespace {

constexpr std::int64_t first_wall_ms = 1'795'402'274'000;

}  // namespace

http::Reply reply_of(const recordings::Exchange& exchange) {
  http::Reply reply;
  reply.status = exchange.answer.status;
  reply.headers = exchange.answer.headers;
  if (exchange.answer.json) reply.body = exchange.answer.json->dump();
  if (exchange.answer.body) reply.body = *exchange.answer.body;
  if (const auto& page = exchange.answer.page) {
    reply.body = "<html><head><title>" + page->title.value_or("") + "</title></head><body>" +
                 page->message.value_or("") + "</body></html>";
    if (reply.body.size() < page->bytes) reply.body += std::string(page->bytes - reply.body.size(), ' ');
  }
  return reply;
}

http::Reply reply_of(int status, http::Headers headers, std::string body) {
  http::Reply reply;
  reply.status = status;
  reply.headers = std::move(headers);
  reply.body = std::move(body);
  return reply;
}

http::Reply json_reply(std::string body) {
  return reply_of(200,
                  {{"X-Jenkins", "2.528.3"},
                   {"X-Jenkins-Session", "5e551011"},
                   {"Content-Type", "application/json;charset=utf-8"}},
                  std::move(body));
}

Result<http::Reply> CheckedClient::call(const http::Request& request, std::optional<Duration> total_timeout) {
  requests.push_back(request);
  timeouts.push_back(total_timeout);
  INFO("no table of tests/contract/support/used_requests.cpp knows of " << request.method << " "
                                                                        << request.target);
  CHECK(recordings::is_used_by_skep(request.method, request.target));
  CHECK(http::header_value(request.headers, "Accept-Language") == "en");
  CHECK(http::header_value(request.headers, "Cookie").empty());
  return answer(request);
}

Result<http::Reply> ScriptedClient::answer(const http::Request& request) {
  INFO("no answer is left for " << request.method << " " << request.target);
  REQUIRE_FALSE(script_.empty());
  Result<http::Reply> next = std::move(script_.front());
  script_.pop_front();
  return next;
}

ModelClient::ModelClient(controller_sim::Options options, std::string user, std::string token)
    : prefix_(options.path_prefix),
      authorization_("Basic " + recordings::base64(user + ":" + token)),
      model_(std::move(options), now_, WallTime{first_wall_ms}) {}

Result<http::Reply> ModelClient::answer(const http::Request& request) {
  const Instant asked_at = now_;
  pass(milliseconds(1));
  controller_sim::HttpRequest sent{request.method, prefix_ + "/" + request.target, request.headers,
                                   request.body};
  sent.headers.emplace_back("Authorization", authorization_);
  if (!request.content_type.empty()) sent.headers.emplace_back("Content-Type", request.content_type);
  controller_sim::HttpReply reply =
      model_.handle(sent, now_, WallTime{first_wall_ms + to_ms(now_.time_since_epoch())});
  if (reply.parked) reply = wait_for(*reply.parked);
  if (reply.delivery.drop_connection || reply.delivery.cut_body_at)
    return Error::unknown(ErrorCode::unavailable, "the connection broke");
  const Duration patience = timeouts.back().value_or(seconds(30));
  if (now_ - asked_at + reply.delivery.delay > patience) {
    pass(asked_at + patience - now_);
    return Error::unknown(ErrorCode::timed_out, "no answer in time");
  }
  pass(reply.delivery.delay);
  return reply_of(reply.status, std::move(reply.headers), std::move(reply.body));
}

controller_sim::HttpReply ModelClient::wait_for(std::uint64_t parked) {
  if (meanwhile) std::exchange(meanwhile, nullptr)();
  for (;;) {
    for (auto& [id, reply] : model_.take_finished_replies()) {
      if (id == parked) return std::move(reply);
    }
    REQUIRE(model_.next_deadline());
    pass(std::max(Duration::zero(), *model_.next_deadline() - now_));
  }
}

void ModelClient::pass(Duration time) {
  now_ += time;
  model_.advance(now_);
}

void ModelClient::connect(const std::string& node) {
  REQUIRE(model_.agent_connect(node, model_.secret_of(node), now_).status == 101);
  pass(milliseconds(50));
  REQUIRE(model_.agent_online(node));
}

}  // namespace skep::scheduler
