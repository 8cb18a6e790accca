// skep-join-fetch: fetches agent.jar once, for skep-join. Says why it failed in one line on standard error.
#include <CLI/CLI.hpp>
#include <iostream>

#include "core/version.h"
#include "join/fetch_codes.h"
#include "join/jar_fetch.h"
#include "linux/linux_files.h"

namespace skep::join {
namespace {

int fail(const Error& error) {
  std::cerr << error.message << std::endl;
  return error.outcome == Outcome::try_again ? fetch_may_be_tried_again : fetch_failed;
}

int fetch_to(const std::string& url, const std::string& ca_file, const std::string& path) {
  const auto fetch = JarFetch::make(url, ca_file);
  if (!fetch) return fail(fetch.error());
  const auto jar = fetch->run();
  if (!jar) return fail(jar.error());
  const auto written = posix_host::write_file_atomically(path, *jar, 0600);
  if (!written) {
    std::cerr << written.error().message << std::endl;
    return fetch_failed;
  }
  return fetched;
}

constexpr const char* footer = R"(skep-join starts it. The file appears whole or not at all.

Exit codes:
  0   the file is there
  1   it cannot be had
  2   the command line is not usable
  75  no answer, or one that may be better later

Example:
  skep-join-fetch https://ci.example/jnlpJars/agent.jar /home/agent/agent.jar)";

}  // namespace
}  // namespace skep::join

int main(int argc, char** argv) {
  CLI::App app{"skep-join-fetch: fetches agent.jar from a controller"};
  std::string url, path, ca_file;
  app.add_option("url", url, "the controller's address with jnlpJars/agent.jar")->required();
  app.add_option("file", path, "where to put it")->required();
  app.add_option("--ca-file", ca_file, "PEM of the CA to trust (default: the system's)");
  app.set_version_flag("--version", skep::skep_version);
  app.footer(skep::join::footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return skep::join::fetch_to(url, ca_file, path);
}
