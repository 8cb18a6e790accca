// The commands of `skep`. Each add_*() registers its subcommands with CLI11 and runs when it was chosen; the
// exit code is left in Context::exit_code.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/api_client.h"

namespace skep::cli {

struct Context {
  ConnectionOptions connection;
  std::string output = "table";  // "table" | "json"
  int exit_code = exit_ok;

  bool wants_json() const { return output == "json"; }
  ApiClient client() const { return ApiClient(connection); }
};

/// Colours are for terminals, and for people who did not set NO_COLOR (no-color.org).
bool has_colours();

void add_status(CLI::App& app, Context& context);       // status
void add_views(CLI::App& app, Context& context);        // hosts executors queue explain
void add_history(CLI::App& app, Context& context);      // history
void add_operations(CLI::App& app, Context& context);   // drain undrain forget hold retire pause resume
void add_controller(CLI::App& app, Context& context);   // controller status|companion
void add_labels(CLI::App& app, Context& context);       // labels
void add_images(CLI::App& app, Context& context);       // images list|pull|verify
void add_rollouts(CLI::App& images, Context& context);  // images rollout|rollback|rollouts
void add_config(CLI::App& app, Context& context);       // config check|show|reload, version
void add_simulate(CLI::App& app, Context& context);     // simulate
/// Last: it completes what was added before it.
void add_completion(CLI::App& app, Context& context);

}  // namespace skep::cli
