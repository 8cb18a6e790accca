#include "tests/contract/support/recordings.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace skep::recordings {
namespace {

namespace fs = std::filesystem;
using json::Json;

fs::path folder() {
  const char* source = std::getenv("SKEP_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("SKEP_SOURCE_DIR is not set: run the test with ctest");
  return fs::path(source) / "tests" / "recordings";
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::string> optional_text(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

Headers headers_of(const Json& headers) {
  Headers out;
  if (headers.is_object()) {
    for (const auto& [name, value] : headers.items()) out.emplace_back(name, value.get<std::string>());
  } else {
    for (const Json& pair : headers)
      out.emplace_back(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
  }
  return out;
}

Answer answer_of(const Json& response) {
  Answer answer;
  answer.status = response.at("status").get<int>();
  answer.headers = headers_of(response.at("headers"));
  if (response.contains("json")) {
    answer.json = response.at("json");
  } else if (response.contains("html")) {
    const Json& page = response.at("html");
    answer.page = Page{optional_text(page, "title"), optional_text(page, "message"),
                       page.at("bytes").get<std::size_t>()};
  } else {
    answer.body = text_of(response, "body");
  }
  return answer;
}

Exchange exchange_of(const Json& entry) {
  Exchange out;
  out.step = text_of(entry, "step");
  out.at_ms = entry.at("at_ms").get<std::int64_t>();
  if (entry.contains("event")) {
    out.event = text_of(entry, "event");
    return out;
  }
  out.as = text_of(entry, "as");
  const Json& request = entry.at("request");
  out.method = text_of(request, "method");
  out.target = text_of(request, "target");
  out.body = text_of(request, "body");
  out.headers = headers_of(request.at("headers"));
  out.answer = answer_of(entry.at("response"));
  return out;
}

struct RawMessage {
  std::string first_line, body;
  Headers headers;
};

RawMessage raw_message(const std::string& bytes) {
  RawMessage out;
  std::istringstream lines(bytes);
  std::string line;
  std::getline(lines, line);
  out.first_line = line.substr(0, line.find('\r'));
  while (std::getline(lines, line) && line != "\r") {
    const std::size_t colon = line.find(':');
    const std::size_t start = line.find_first_not_of(' ', colon + 1);
    out.headers.emplace_back(line.substr(0, colon), line.substr(start, line.find('\r') - start));
  }
  std::ostringstream rest;
  rest << lines.rdbuf();
  out.body = rest.str();
  const auto chunked = std::find(out.headers.begin(), out.headers.end(),
                                 std::pair<std::string, std::string>("Transfer-Encoding", "chunked"));
  // The one chunk that was recorded: its length in a line of its own, the end left out.
  if (chunked != out.headers.end()) out.body.erase(0, out.body.find("\r\n") + 2);
  return out;
}

/// Scenario 15 is bytes on the wire: request and answer in turn.
std::vector<Exchange> raw_exchanges(const Json& raw) {
  std::vector<Exchange> out;
  for (std::size_t i = 0; i + 1 < raw.size(); i += 2) {
    const RawMessage request = raw_message(text_of(raw[i], "bytes_as_text"));
    const RawMessage response = raw_message(text_of(raw[i + 1], "bytes_as_text"));
    Exchange exchange;
    exchange.at_ms = raw[i].at("at_ms").get<std::int64_t>();
    exchange.step = request.first_line.substr(0, request.first_line.find('?'));
    exchange.as = request.first_line.find("wsagents") == std::string::npos ? "password" : "none";
    std::istringstream words(request.first_line);
    words >> exchange.method >> exchange.target;
    exchange.headers = request.headers;
    exchange.answer.status = std::stoi(response.first_line.substr(response.first_line.find(' ') + 1));
    exchange.answer.headers = response.headers;
    std::erase_if(exchange.answer.headers, [](const auto& header) {  // left out of the other recordings
      return header.first == "Server" || header.first == "Date" || header.first == "Expires" ||
             header.first == "X-Frame-Options";
    });
    exchange.answer.body = response.body;
    out.push_back(std::move(exchange));
  }
  return out;
}

/// The first absolute address in the answers, up to its path.
std::string root_url_of(const std::string& text) {
  std::smatch found;
  const std::regex absolute("http://[0-9.]+:[0-9]+/");
  return std::regex_search(text, found, absolute) ? found.str() : "http://127.0.0.1:8080/";
}

Recording load(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  const auto parsed = json::parse_strict(content.str());
  if (!parsed) throw std::runtime_error(path.string() + ": " + parsed.error().message);
  Recording out;
  out.file = (path.parent_path().filename() / path.filename()).string();
  out.scenario = path.stem().string();
  out.given = text_of(*parsed, "given");
  const std::string on = text_of(*parsed, "recorded_on");
  out.core = on.substr(8, on.find(',') - 8);  // "jenkins 2.479.3, ..."
  out.root_url = root_url_of(content.str());
  if (parsed->contains("raw")) {
    out.exchanges = raw_exchanges(parsed->at("raw"));
  } else {
    for (const Json& entry : parsed->at("exchanges")) out.exchanges.push_back(exchange_of(entry));
  }
  for (std::size_t i = 0; i < out.exchanges.size(); ++i) out.exchanges[i].index = i;
  return out;
}

std::vector<Recording> load_all() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder())) {
    const bool is_scenario = entry.path().extension() == ".json" && entry.path().parent_path() != folder();
    if (is_scenario) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Recording> out;
  for (const fs::path& path : paths) out.push_back(load(path));
  return out;
}

}  // namespace

std::string Answer::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

const Exchange& Recording::step(std::string_view name) const {
  for (const Exchange& exchange : exchanges) {
    if (exchange.step == name) return exchange;
  }
  throw std::runtime_error(file + " has no step \"" + std::string(name) + "\"");
}

const std::vector<Recording>& all() {
  static const std::vector<Recording> recordings = load_all();
  return recordings;
}

const Recording& of(std::string_view file) {
  for (const Recording& recording : all()) {
    if (recording.file == file) return recording;
  }
  throw std::runtime_error("there is no recording " + std::string(file));
}

}  // namespace skep::recordings
