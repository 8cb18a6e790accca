#include "tests/support/container_engine.h"

#include <map>
#include <memory>

#include "common/json/json.h"
#include "tests/support/script_process.h"

namespace skep::test {
namespace {

struct EngineProcess {
  explicit EngineProcess(const std::string& kind) : process("container_engine.py", {kind}) {
    engine.skipped = "container_engine.py did not answer";
    const auto answer = json::parse_strict(process.answer());
    if (!answer || !answer->is_object()) return;
    engine.skipped.clear();
    for (const auto& [name, place] : std::map<std::string, std::string*>{{"socket", &engine.socket},
                                                                         {"image", &engine.image},
                                                                         {"folder", &engine.folder},
                                                                         {"version", &engine.version},
                                                                         {"skipped", &engine.skipped}}) {
      if (const auto text = json::get_string(*answer, name)) *place = *text;
    }
  }

  ScriptProcess process;
  TestEngine engine;
};

}  // namespace

const TestEngine& test_engine(const std::string& kind) {
  static std::map<std::string, std::unique_ptr<EngineProcess>> running;
  auto& process = running[kind];
  if (!process) process = std::make_unique<EngineProcess>(kind);
  return process->engine;
}

}  // namespace skep::test
