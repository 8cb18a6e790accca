// `skep images list|pull|verify`: what hosts have of their images, through the scheduler.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "cli/reply.h"
#include "cli/selection.h"
#include "cli/view.h"
#include "common/http/http_types.h"
#include "common/shell/terminal.h"
#include "core/resources.h"

namespace skep::cli {
namespace {

using json::Json;

struct ImageOptions {
  std::string verb;
  std::string image;
  Selection hosts;
  bool waits = false;
  std::string timeout = "1h";
};

/// One host's part of a command.
struct HostPart {
  std::string host;
  Json image;  // as the host last told
  std::int64_t verified_before = 0;
  bool is_done = false;
  std::string failure;
};

std::string images_of(const std::string& host) {
  return "v1/hosts/" + http::percent_encode(host) + "/images";
}

std::string full_name(const Json& image) {
  return text_of(image, "name") + "@" + text_of(image, "version");
}

std::string percent_of(const Json& image) {
  const std::int64_t total = number_of(image, "total_bytes");
  return total <= 0 ? "" : std::to_string(number_of(image, "done_bytes") * 100 / total) + " %";
}

std::string state_text(const Json& image) {
  const std::string state = text_of(image, "state");
  if (state == "fetching") return state + " " + percent_of(image);
  return flag_of(image, "is_wanted") ? state : state + ", unwanted";
}

std::string since_text(const Json& image, const char* key) {
  const std::int64_t then = number_of(image, key);
  if (then <= 0) return "never";
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return ago_text(std::max<std::int64_t>(0, now.count() - then));
}

Result<std::vector<std::string>> chosen_hosts(ApiClient& client, const Selection& selection) {
  const auto list = client.get("v1/hosts");
  if (!list) return list.error();
  const auto chosen = choose(client, selection, host_kind, *list);
  if (!chosen) return chosen.error();
  std::vector<std::string> names;
  for (const Json& host : *chosen) names.push_back(text_of(host, "host"));
  return names;
}

void print_images(const Json& hosts) {
  Table table({"IMAGE", "HOST", "STATE", "CHANNEL", "SIZE", "IN USE", "VERIFIED"});
  for (const Json& host : hosts) {
    for (const Json& image : list_of(host, "images")) {
      const std::int64_t bytes = std::max(number_of(image, "bytes"), number_of(image, "total_bytes"));
      table.add({full_name(image), text_of(host, "host"), state_text(image), text_of(image, "channel"),
                 bytes_to_text(bytes), std::to_string(list_of(image, "in_use_by").size()),
                 since_text(image, "verified_at_ms")});
    }
  }
  if (table.empty()) {
    std::cout << "no host has an image of a catalogue\n";
  } else {
    print_table(table);
  }
  for (const Json& host : hosts) {
    for (const Json& image : list_of(host, "images")) {
      if (text_of(image, "problem").empty()) continue;
      std::cout << "! " << full_name(image) << " on " << text_of(host, "host") << ": "
                << text_of(image, "problem") << "\n";
      if (!text_of(image, "hint").empty()) std::cout << "    " << text_of(image, "hint") << "\n";
    }
  }
}

int run_list(const Context& context, const ImageOptions& options) {
  ApiClient client = context.client();
  const auto names = chosen_hosts(client, options.hosts);
  if (!names) return report(names.error());
  Json hosts = Json::array();
  int code = exit_ok;
  for (const std::string& name : *names) {
    auto answer = client.get(images_of(name));
    if (answer) {
      (*answer)["host"] = name;
      hosts.push_back(std::move(*answer));
      continue;
    }
    report(answer.error());
    code = exit_failed;
    hosts.push_back({{"host", name}, {"images", nullptr}, {"problem", answer.error().message}});
  }
  const auto versions = client.get("v1/images");
  if (!versions) code = report(versions.error());
  const Json all{{"hosts", hosts}, {"versions", versions ? *versions : Json(nullptr)}};
  const int shown = show_answer(context, all, [&](const Json& answer) {
    print_images(answer.at("hosts"));
    for (const Json& each : list_of(answer, "versions"))
      std::cout << "- " << printable(text_of(each, "text")) << "\n";
    return exit_ok;
  });
  return shown == exit_ok ? code : shown;
}

/// A line that is written over, for people who watch.
class PullBar {
 public:
  void show(const std::vector<HostPart>& parts) {
    if (!shell::is_stderr_terminal()) return;
    std::int64_t done = 0, total = 0;
    for (const HostPart& part : parts) {
      done += number_of(part.image, "done_bytes");
      total += number_of(part.image, "total_bytes");
    }
    if (total <= 0) return;
    constexpr std::size_t cells = 30;
    const auto full = std::min(
        cells, static_cast<std::size_t>(static_cast<double>(done) / static_cast<double>(total) * cells));
    std::cerr << "\r[" << std::string(full, '#') << std::string(cells - full, ' ') << "] "
              << done * 100 / total << " % of " << bytes_to_text(total) << "  " << std::flush;
    is_shown_ = true;
  }
  ~PullBar() {
    if (is_shown_) std::cerr << "\r" << std::string(60, ' ') << "\r" << std::flush;
  }

 private:
  bool is_shown_ = false;
};

/// Whether what was asked for came to an end there.
void judge(const ImageOptions& options, HostPart& part) {
  const std::string state = text_of(part.image, "state");
  const std::string problem = text_of(part.image, "problem");
  if (options.verb == "pull") {
    part.is_done = !list_of(part.image, "references").empty();
    if (state == "waiting" && number_of(part.image, "attempts") > 0) part.failure = problem;
    return;
  }
  if (state == "verifying") return;
  part.is_done = state == "ready" && number_of(part.image, "verified_at_ms") != part.verified_before;
  if (!part.is_done && state != "ready")
    part.failure = "it was changed on that host; it is fetched again: skep images list";
  if (!part.is_done && state == "ready") part.failure = problem;  // empty: its turn comes
}

Result<void> look_at(ApiClient& client, HostPart& part) {
  const auto answer = client.get(images_of(part.host));
  if (!answer) return answer.error();
  const std::string name = full_name(part.image);
  for (const Json& image : list_of(*answer, "images")) {
    if (full_name(image) != name || !flag_of(image, "is_wanted")) continue;
    part.image = image;
    return {};
  }
  return Error::failed(ErrorCode::not_found, name + " is not in the catalogue of " + part.host + " any more");
}

/// False: time ran out.
bool wait_for_parts(ApiClient& client, const ImageOptions& options, std::vector<HostPart>& parts,
                    Duration limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  PullBar bar;
  for (;;) {
    bool is_over = true;
    for (HostPart& part : parts) {
      if (part.is_done || !part.failure.empty()) continue;
      if (auto seen = look_at(client, part); !seen) {
        part.failure = seen.error().message;
        continue;
      }
      judge(options, part);
      is_over = is_over && (part.is_done || !part.failure.empty());
    }
    bar.show(parts);
    if (is_over) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

void print_parts(const ImageOptions& options, const std::vector<HostPart>& parts) {
  if (parts.empty()) std::cout << "nothing is selected\n";
  for (const HostPart& part : parts) {
    if (!part.failure.empty()) continue;
    const std::string done = options.verb == "pull" ? "ready" : "verified";
    std::cout << full_name(part.image) << " on " << part.host << ": "
              << (part.is_done ? done : state_text(part.image)) << "\n";
  }
}

Json parts_to_json(const std::vector<HostPart>& parts) {
  Json list = Json::array();
  for (const HostPart& part : parts)
    list.push_back({{"host", part.host},
                    {"image", part.image},
                    {"is_done", part.is_done},
                    {"failure", part.failure.empty() ? Json(nullptr) : Json(part.failure)}});
  return {{"hosts", list}};
}

int run_verb(const Context& context, const ImageOptions& options) {
  if (options.hosts.is_empty())
    return report_usage("say which hosts: --host NAME (with *), or --all",
                        "skep images list shows what they have");
  const auto limit = parse_duration(options.timeout);
  if (!limit) return report_usage("--timeout: " + limit.error().message);
  ApiClient client = context.client();
  const auto names = chosen_hosts(client, options.hosts);
  if (!names) return report(names.error());
  std::vector<HostPart> parts;
  int code = exit_ok;
  for (const std::string& name : *names) {
    HostPart part;
    part.host = name;
    const auto answer = client.post(
        images_of(name) + "/" + http::percent_encode(options.image) + "/" + options.verb, Json::object());
    if (answer) {
      part.image = *answer;
      part.verified_before = number_of(*answer, "verified_at_ms");
      part.is_done = options.verb == "pull" && !list_of(*answer, "references").empty();
    } else {
      part.failure = answer.error().message;
      code = report(answer.error());
    }
    parts.push_back(std::move(part));
  }
  const bool is_in_time = !options.waits || wait_for_parts(client, options, parts, *limit);
  for (const HostPart& part : parts) {
    if (part.failure.empty() || part.image.is_null()) continue;
    code = report(
        Error::failed(ErrorCode::generic, full_name(part.image) + " on " + part.host + ": " + part.failure));
  }
  if (context.wants_json()) {
    std::cout << json::dump(parts_to_json(parts)) << "\n";
  } else {
    print_parts(options, parts);
  }
  if (is_in_time) return code;
  std::cerr << "skep: not done within " << options.timeout << "; it goes on without this command\n";
  return exit_timed_out;
}

void add_verb(CLI::App& images, Context& context, const char* verb, const char* help, const char* examples) {
  auto options = std::make_shared<ImageOptions>();
  options->verb = verb;
  CLI::App* command = images.add_subcommand(verb, help);
  command->add_option("image", options->image, "NAME, or NAME@VERSION")->required();
  repeated(command->add_option("--host", options->hosts.names, "on these hosts; * stands for anything"));
  command->add_flag("--all", options->hosts.all, "on all hosts");
  command->add_flag("--wait", options->waits, "until it is done, or has failed");
  command->add_option("--timeout", options->timeout, "of --wait, such as 10m")->capture_default_str();
  command->footer(examples);
  command->callback([options, &context] { context.exit_code = run_verb(context, *options); });
}

}  // namespace

void add_images(CLI::App& app, Context& context) {
  CLI::App* images =
      app.add_subcommand("images", "images of hosts: what they have, fetch and lack; rollouts of versions");
  images->require_subcommand(1);
  auto options = std::make_shared<ImageOptions>();
  CLI::App* list = images->add_subcommand("list", "images of all hosts, and what is wrong with them");
  repeated(list->add_option("--host", options->hosts.names, "only of these hosts; * stands for anything"));
  list->footer("Examples:\n  skep images list\n  skep images list --host 'rack2-*' --output json");
  list->callback([options, &context] { context.exit_code = run_list(context, *options); });
  add_verb(*images, context, "pull", "fetch an image now, also one that is fetched on demand",
           "Examples:\n  skep images pull base@2 --all --wait\n  skep images pull base --host hv-07");
  add_verb(*images, context, "verify", "read an image against its digests; a changed one is fetched again",
           "Example:\n  skep images verify base --all --wait");
  add_rollouts(*images, context);
}

}  // namespace skep::cli
