// An http::Client that answers from a list and remembers what it was asked.
#pragma once

#include <deque>
#include <vector>

#include "common/http/http_client.h"

namespace skep::test {

struct HttpScript {
  std::deque<Result<http::Reply>> replies;
  std::vector<http::Request> asked;
  std::vector<Duration> limits;
};

class ScriptedHttp : public http::Client {
 public:
  explicit ScriptedHttp(HttpScript& script) : script_(script) {}
  Result<http::Reply> call(const http::Request& request, std::optional<Duration> limit) override {
    script_.asked.push_back(request);
    script_.limits.push_back(limit.value_or(Duration::zero()));
    if (script_.replies.empty()) return Error::unknown(ErrorCode::unavailable, "the script is over");
    auto reply = std::move(script_.replies.front());
    script_.replies.pop_front();
    return reply;
  }
  void cancel() override {}

 private:
  HttpScript& script_;
};

}  // namespace skep::test
