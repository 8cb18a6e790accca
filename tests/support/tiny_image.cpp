#include "tests/support/tiny_image.h"

#include "common/json/json.h"
#include "tests/support/script_process.h"

namespace skep::test {
namespace {

struct ImageProcess {
  ImageProcess() : process("tiny_image.py", {}) {
    tiny.skipped = "tiny_image.py did not answer";
    const auto answer = json::parse_strict(process.answer());
    if (!answer || !answer->is_object()) return;
    if (const auto text = json::get_string(*answer, "skipped")) {
      tiny.skipped = *text;
      return;
    }
    const auto text = [&](const char* key) { return answer->value(key, std::string()); };
    const auto file = [&](const char* key) {
      return drivers::qemu::ImageFile{(*answer)[key].value("file", std::string()),
                                      (*answer)[key].value("sha256", std::string())};
    };
    tiny.image = {text("folder"), file("kernel"), file("initrd"), file("disk"), text("command_line")};
    tiny.folder = text("machines");
    tiny.skipped.clear();
  }

  ScriptProcess process;
  TinyImage tiny;
};

}  // namespace

const TinyImage& tiny_image() {
  static ImageProcess made;
  return made.tiny;
}

}  // namespace skep::test
