#include "drivers/process/sandbox_texts.h"

#include <charconv>
#include <limits>
#include <map>

namespace skep::drivers::process {
namespace {

using posix_host::Sandbox;

constexpr const char* running = "running\n";
constexpr ErrorCode told_codes[] = {ErrorCode::generic,           ErrorCode::not_found,
                                    ErrorCode::permission_denied, ErrorCode::unsupported,
                                    ErrorCode::out_of_resources,  ErrorCode::invalid_input};

Error wrong(const std::string& what) {
  return Error::failed(ErrorCode::invalid_input, "skep-sandbox: " + what);
}

std::map<std::string, std::string*> texts_of(SandboxCall& call) {
  Sandbox& to = call.sandbox;
  return {{"--status", &call.status_file},
          {"--root", &to.root},
          {"--lower", &to.lower},
          {"--upper", &to.upper},
          {"--scratch", &to.scratch},
          {"--host-name", &to.host_name},
          {"--work", &to.work}};
}

std::optional<std::uint32_t> user_from(const std::string& text) {
  std::uint32_t user = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), user);
  // The last number means "do not change" to the system.
  const bool is_good = read.ec == std::errc() && read.ptr == text.data() + text.size() &&
                       user < std::numeric_limits<std::uint32_t>::max();
  return is_good ? std::optional<std::uint32_t>(user) : std::nullopt;
}

}  // namespace

std::optional<Sandbox::Bind> bind_from(const std::string& text) {
  const std::size_t colon = text.find(':');
  Sandbox::Bind bind{text.substr(0, colon), colon == std::string::npos ? text : text.substr(colon + 1), true};
  for (const std::string& path : {bind.from, bind.to}) {
    const bool is_good = path.size() > 1 && path.front() == '/' &&
                         (path + "/").find("/../") == std::string::npos &&
                         path.find('\0') == std::string::npos && path.back() != '/';
    if (!is_good) return std::nullopt;
  }
  return bind;
}

std::vector<std::string> command_line(const std::string& program, const SandboxCall& call) {
  SandboxCall copy = call;
  std::vector<std::string> words{program};
  for (const auto& [name, text] : texts_of(copy)) words.insert(words.end(), {name, *text});
  const Sandbox& sandbox = call.sandbox;
  if (!sandbox.has_network) words.emplace_back("--no-network");
  if (sandbox.user) words.insert(words.end(), {"--user", std::to_string(*sandbox.user)});
  for (const Sandbox::Bind& bind : sandbox.binds)
    words.insert(words.end(), {bind.is_read_only ? "--read-only" : "--bind", bind.from, bind.to});
  words.emplace_back("--");
  words.insert(words.end(), sandbox.program.begin(), sandbox.program.end());
  return words;
}

Result<SandboxCall> read_command_line(const std::vector<std::string>& words) {
  SandboxCall call;
  Sandbox& sandbox = call.sandbox;
  const auto texts = texts_of(call);
  std::size_t at = 0;
  for (; at < words.size() && words[at] != "--"; ++at) {
    const std::string& word = words[at];
    const bool is_bind = word == "--bind" || word == "--read-only";
    const std::size_t values = word == "--no-network" ? 0 : is_bind ? 2 : 1;
    if (words.size() - at <= values) return wrong(word + " lacks a value");
    if (word == "--no-network") {
      sandbox.has_network = false;
    } else if (is_bind) {
      sandbox.binds.push_back({words[at + 1], words[at + 2], word == "--read-only"});
    } else if (word == "--user") {
      sandbox.user = user_from(words[at + 1]);
      if (!sandbox.user) return wrong("\"" + words[at + 1] + "\" is no user's number");
    } else if (const auto text = texts.find(word); text != texts.end()) {
      *text->second = words[at + 1];
    } else {
      return wrong("\"" + word + "\" is not known");
    }
    at += values;
  }
  if (at == words.size()) return wrong("-- and the program are missing");
  sandbox.program.assign(words.begin() + static_cast<std::ptrdiff_t>(at) + 1, words.end());
  for (const auto& [name, text] : texts) {
    const bool is_path = name != "--host-name";
    if (text->empty() || (is_path && text->front() != '/'))
      return wrong(name + " is missing, or no absolute path");
  }
  for (const Sandbox::Bind& bind : sandbox.binds) {
    if (bind.from.empty() || bind.from.front() != '/' || bind.to.size() < 2 || bind.to.front() != '/')
      return wrong("\"" + bind.from + "\" on \"" + bind.to + "\" are no two absolute paths");
  }
  return call;
}

std::string status_text(const Result<void>& outcome) {
  if (outcome) return running;
  return "failed " + std::string(to_string(outcome.error().code)) + " " + outcome.error().message + "\n";
}

Result<void> read_sandbox_status(const std::string& text) {
  if (text == running) return {};
  for (const ErrorCode code : told_codes) {
    const std::string head = "failed " + std::string(to_string(code)) + " ";
    if (text.size() > head.size() + 1 && text.rfind(head, 0) == 0 && text.back() == '\n')
      return Error::failed(code, text.substr(head.size(), text.size() - head.size() - 1));
  }
  return Error::failed(ErrorCode::malformed_reply, "skep-sandbox left no word that can be read");
}

}  // namespace skep::drivers::process
