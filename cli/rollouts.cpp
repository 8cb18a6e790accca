// `skep images rollout|rollback|rollouts`: which version of an image executors are made from.
#include <iostream>
#include <memory>

#include "cli/reply.h"
#include "cli/view.h"
#include "cli/waiting.h"
#include "common/http/http_types.h"

namespace skep::cli {
namespace {

using json::Json;

struct RolloutOptions {
  std::string image;
  std::string version;
  int share = 0;  // 0: the scheduler's
  bool holds = false;
  bool is_now = false;
  bool is_dry = false;
  bool watches = false;
  std::string timeout = "1h";
};

std::string target_of(const std::string& image, const char* verb) {
  return "v1/images/" + http::percent_encode(image) + "/" + verb;
}

std::string version_text(const Json& image, const char* key) {
  const std::string version = text_of(image, key);
  return version.empty() ? "(host's choice)" : version;
}

int ready_hosts(const Json& image) {
  int ready = 0;
  for (const Json& host : list_of(image, "hosts")) ready += flag_of(host, "is_ready") ? 1 : 0;
  return ready;
}

std::string hosts_text(const Json& image) {
  return std::to_string(ready_hosts(image)) + " of " + std::to_string(list_of(image, "hosts").size());
}

Json object_in(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_object() ? object[key] : Json::object();
}

Json rollout_of(const Json& image) {
  return object_in(image, "rollout");
}

/// "9/10": joined of started; with the other version's beside it.
std::string joined_text(const Json& rollout) {
  const auto one = [](const Json& figures) {
    const std::int64_t joined = number_of(figures, "joined");
    return std::to_string(joined) + "/" + std::to_string(joined + number_of(figures, "failed"));
  };
  return one(object_in(rollout, "new")) + " (" + one(object_in(rollout, "old")) + ")";
}

std::string boot_text(const Json& rollout) {
  const auto one = [](const Json& figures) {
    const std::int64_t ms = number_of(figures, "boot_ms", -1);
    return ms < 0 ? std::string("-") : std::to_string(ms) + " ms";
  };
  return one(object_in(rollout, "new")) + " (" + one(object_in(rollout, "old")) + ")";
}

std::string executors_text(const Json& image) {
  std::string text;
  const Json executors = object_in(image, "executors");
  for (const auto& [reference, count] : executors.items())
    text += (text.empty() ? "" : ", ") + json::dump(count) + " " + printable(reference);
  return text;
}

void print_hosts(const Json& image) {
  for (const Json& host : list_of(image, "hosts")) {
    if (flag_of(host, "is_ready") || text_of(host, "problem").empty()) continue;
    std::cout << "! " << printable(text_of(image, "reference")) << " on " << printable(text_of(host, "host"))
              << ": " << printable(text_of(host, "problem")) << "\n";
  }
}

int print_rollouts(const Json& images) {
  if (images.empty()) {
    std::cout << "no image was rolled out: skep images rollout NAME VERSION\n";
    return exit_ok;
  }
  Table table({"IMAGE", "CURRENT", "ROLLOUT TO", "STATE", "SHARE", "READY HOSTS", "JOINED NEW (OLD)",
               "ORDER TO JOINED", "EXECUTORS"});
  for (const Json& image : images) {
    const Json rollout = rollout_of(image);
    const std::string state = text_of(rollout, "state");
    table.add({text_of(image, "image"), version_text(image, "current"), text_of(rollout, "to"), state,
               state == "canary" ? std::to_string(number_of(rollout, "share")) + " %" : "", hosts_text(image),
               rollout.empty() ? "" : joined_text(rollout), rollout.empty() ? "" : boot_text(rollout),
               executors_text(image)});
  }
  print_table(table);
  for (const Json& image : images) {
    std::cout << "- " << printable(text_of(image, "text")) << "\n";
    print_hosts(image);
  }
  return exit_ok;
}

/// What the hosts' catalogues say of the version: known to none of those that could be asked is an error.
Result<void> check_known(ApiClient& client, const Json& image, const std::string& version) {
  const std::string name = text_of(image, "image");
  int known = 0, asked = 0;
  for (const Json& host : list_of(image, "hosts")) {
    const std::string id = text_of(host, "host");
    bool is_known = flag_of(host, "is_ready");
    if (!is_known) {
      const auto answer = client.get("v1/hosts/" + http::percent_encode(id) + "/images");
      if (!answer) {
        std::cerr << "skep: " << answer.error().message << "; whether it knows the version is not known\n";
        ++known;
        continue;
      }
      for (const Json& each : list_of(*answer, "images")) {
        const bool is_it = text_of(each, "name") == name && text_of(each, "version") == version &&
                           flag_of(each, "is_wanted");
        is_known = is_known || is_it;
        if (is_it && text_of(each, "state") == "waiting" && !text_of(each, "problem").empty())
          std::cerr << "skep: " << name << "@" << version << " on " << id << ": "
                    << printable(text_of(each, "problem")) << "\n";
      }
    }
    ++asked;
    known += is_known ? 1 : 0;
    if (!is_known)
      std::cerr << "skep: " << id << " does not have " << name << "@" << version
                << " in its catalogue: once the rollout is done it takes no executor of " << name << "\n";
  }
  if (asked == 0 || known > 0) return {};
  return Error::failed(
      ErrorCode::not_found,
      "no host that serves image " + name + " knows version " + version + "; nothing was changed",
      "add it to images.catalogue of their agentd beside the one of today, restart agentd "
      "(executors run on), then say it again");
}

int watch(const Context& context, const RolloutOptions& options) {
  return wait_until_done(context, options.timeout, [&](ApiClient& client) -> Result<std::string> {
    const auto images = client.get("v1/images");
    if (!images) return images.error();
    for (const Json& image : *images) {
      if (text_of(image, "image") != options.image) continue;
      const Json rollout = rollout_of(image);
      const std::string state = text_of(rollout, "state");
      if (state == "done" || flag_of(rollout, "is_good")) return std::string();
      const bool is_rollback = options.version.empty();
      if (state == "stopped" && !is_rollback)
        return Error::failed(ErrorCode::generic, text_of(image, "text"),
                             "skep executors --all and the scheduler's log tell of the starts that failed");
      const std::string wanted = text_of(image, "reference");
      std::int64_t others = 0;
      const Json executors = object_in(image, "executors");
      for (const auto& [reference, count] : executors.items())
        others += reference != wanted && count.is_number_integer() ? count.get<std::int64_t>() : 0;
      if (is_rollback && others == 0) return std::string();
      return (is_rollback ? "" : state + ", ") + hosts_text(image) + " hosts ready, " +
             (is_rollback ? "" : joined_text(rollout) + " joined, ") + std::to_string(others) +
             " executors of another version";
    }
    return Error::failed(ErrorCode::not_found, "image " + options.image + " has no rollout any more");
  });
}

int show_image(const Context& context, const RolloutOptions& options, const Json& image) {
  if (context.wants_json()) {
    std::cout << json::dump(image) << std::endl;
  } else {
    std::cout << (options.is_dry ? "would be: " : "") << printable(text_of(image, "text")) << "\n"
              << "templates " << joined(list_of(image, "templates")) << "; " << hosts_text(image)
              << " hosts have " << printable(text_of(image, "reference")) << "\n";
    print_hosts(image);
    if (!options.is_dry && !options.watches)
      std::cout << "skep images rollouts shows how far it is; skep images rollback " << options.image
                << " takes it back\n";
    std::cout << std::flush;
  }
  return options.watches && !options.is_dry ? watch(context, options) : exit_ok;
}

int run_rollout(const Context& context, const RolloutOptions& options) {
  Json body{
      {"version", options.version}, {"hold", options.holds}, {"now", options.is_now}, {"dry_run", true}};
  if (options.share > 0) body["share"] = options.share;
  ApiClient client = context.client();
  const auto before = client.post(target_of(options.image, "rollout"), body);
  if (!before) return report(before.error());
  if (auto known = check_known(client, *before, options.version); !known) return report(known.error());
  if (options.is_dry) return show_image(context, options, *before);
  body["dry_run"] = false;
  const auto after = client.post(target_of(options.image, "rollout"), body);
  return after ? show_image(context, options, *after) : report(after.error());
}

int run_rollback(const Context& context, const RolloutOptions& options) {
  ApiClient client = context.client();
  const auto answer = client.post(target_of(options.image, "rollback"), Json{{"dry_run", options.is_dry}});
  return answer ? show_image(context, options, *answer) : report(answer.error());
}

void add_common(CLI::App* command, RolloutOptions& options) {
  command->add_option("image", options.image, "NAME of an image that templates name without a version")
      ->required();
  command->add_flag("--dry-run", options.is_dry, "show what would be done, change nothing");
  command->add_flag("--watch", options.watches,
                    "until it is over, with progress on stderr; 1 when it stopped");
  command->add_option("--timeout", options.timeout, "of --watch, such as 10m")->capture_default_str();
}

}  // namespace

void add_rollouts(CLI::App& images, Context& context) {
  auto rollout = std::make_shared<RolloutOptions>();
  CLI::App* command = images.add_subcommand(
      "rollout", "executors are made from this version from now on: first a share of them, then all");
  add_common(command, *rollout);
  command->add_option("version", rollout->version, "VERSION of the hosts' catalogues")->required();
  auto* share = command->add_option("--share", rollout->share, "percent of launches that try it first")
                    ->check(CLI::Range(1, 100));
  auto* hold = command->add_flag("--hold", rollout->holds, "a good canary waits for --now");
  command->add_flag("--now", rollout->is_now, "no canary; of one that is under way: it goes on")
      ->excludes(share)
      ->excludes(hold);
  command->footer(
      "Hosts fetch the version first. It stops by itself when it joins, starts or keeps builds worse than "
      "the "
      "one\nbefore; no build is ended.\n"
      "Examples:\n  skep images rollout base 2 --share 10 --watch\n  skep images rollout base 2 --hold\n"
      "  skep images rollout base 2 --now      # goes on after --hold, or without a canary\n"
      "  skep images rollout base 2 --dry-run");
  command->callback([rollout, &context] { context.exit_code = run_rollout(context, *rollout); });

  auto rollback = std::make_shared<RolloutOptions>();
  CLI::App* back = images.add_subcommand("rollback", "stop a rollout, or go back to the version before it");
  add_common(back, *rollback);
  back->footer("Examples:\n  skep images rollback base\n  skep images rollback base --watch --timeout 10m");
  back->callback([rollback, &context] { context.exit_code = run_rollback(context, *rollback); });

  CLI::App* list = images.add_subcommand("rollouts", "versions of images and how far their rollouts are");
  list->footer("Examples:\n  skep images rollouts\n  skep images rollouts --output json");
  list->callback([&context] { context.exit_code = show(context, "v1/images", print_rollouts); });
}

}  // namespace skep::cli
