#include "tests/contract/support/used_requests.h"

#include <array>
#include <regex>

namespace skep::recordings {

bool is_used_by_skep(const std::string& method, const std::string& target) {
  struct Row {
    const char* method;
    const char* path;
  };
  // From scheduler/jenkins and join. An address that is used with one query is held to its contract with
  // every query.
  static constexpr std::array<Row, 13> rows{{
      {"GET", "whoAmI/api/json"},
      {"GET", "api/json"},
      {"GET", "queue/api/json"},
      {"GET", "computer/api/json"},
      {"GET", "computer/[^/]+/api/json"},
      {"GET", "computer/[^/]+/config\\.xml"},
      {"POST", "computer/[^/]+/config\\.xml"},
      {"POST", "computer/[^/]+/(changeOfflineCause|toggleOffline|doDelete)"},
      {"POST", "plugin/swarm/createSlave"},
      {"GET", "jnlpJars/agent\\.jar"},
      {"HEAD", "jnlpJars/agent\\.jar"},
      {"GET", "wsagents/"},
      {"POST", "scriptText"},
  }};
  std::string path = target.substr(0, target.find('?'));
  if (!path.empty() && path.front() == '/') path.erase(0, 1);
  for (const Row& row : rows) {
    if (method == row.method && std::regex_match(path, std::regex(row.path))) return true;
  }
  return false;
}

}  // namespace skep::recordings
