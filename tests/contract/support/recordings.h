// The recordings of real controllers (tests/recordings/README.md) as values.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/json/json.h"

namespace skep::recordings {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Page {
  std::optional<std::string> title, message;
  std::size_t bytes = 0;
};

/// What a controller answered: one of json, body and page.
struct Answer {
  int status = 0;
  Headers headers;
  std::optional<json::Json> json;
  std::optional<std::string> body;
  std::optional<Page> page;

  std::string header(std::string_view name) const;  // first value, or ""
};

/// One request and its answer; or, with `event` set, what happened in between.
struct Exchange {
  std::size_t index = 0;
  std::string step, event;
  std::int64_t at_ms = 0;
  std::string as;  // how it authenticated: "none", "token", "password", "token of skep", ...
  std::string method, target, body;
  Headers headers;
  Answer answer;

  bool is_event() const { return !event.empty(); }
};

struct Recording {
  std::string file;      // "jenkins-2.479.3/03-why-texts.json"
  std::string scenario;  // "03-why-texts"
  std::string core;      // "2.479.3"
  std::string root_url;  // Jenkins' own idea of its address
  std::string given;
  std::vector<Exchange> exchanges;

  const Exchange& step(
      std::string_view name) const;  // the first of that name; fails the test if there is none
};

/// All of tests/recordings, in order of their names.
const std::vector<Recording>& all();
/// "jenkins-2.479.3/03-why-texts.json"
const Recording& of(std::string_view file);

}  // namespace skep::recordings
