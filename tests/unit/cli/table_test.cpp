#include <catch2/catch.hpp>

#include "cli/table.h"
#include "core/prng.h"

namespace table_test {

using namespace skep;
using namespace skep::cli;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("table: columns are as wide as what is in them, and no line ends with blanks",
          "[unit][cli][table]") {
  Table table({"HOST", "STATE", "NOTE"});
  table.add({"hv-01", "ok", ""});
  table.add({"h", "ok,draining", "new disks"});
  table.add({"short row"});
  CHECK(table.to_text(0) ==
        "HOST       STATE        NOTE\n"
        "hv-01      ok\n"
        "h          ok,draining  new disks\n"
        "short row\n");
  CHECK(Table({"A", "B"}).to_text(80) == "A  B\n");
}

TEST_CASE("table: the widest column gives way first, the first column last", "[unit][cli][table]") {
  Table table({"EXECUTOR", "BUILD", "NOTE"});
  table.add({"skep-linux-7-1f2e", std::string(60, 'b'), "a note that is long enough"});
  for (const std::string& line : lines_of(table.to_text(60))) CHECK(text_width(line) <= 60);
  CHECK(table.to_text(60).find("skep-linux-7-1f2e") != std::string::npos);
  CHECK(table.to_text(30).find("skep-linux") != std::string::npos);
  CHECK(table.to_text(0).find(std::string(60, 'b')) != std::string::npos);
}

TEST_CASE("table: whatever is in it, every line fits from 40 columns on", "[unit][cli][table]") {
  const std::uint64_t seed = 20'261'124;
  Prng prng(seed);
  CAPTURE(seed);
  const std::vector<std::string> pieces{"a",        "job ", "é",  "測", "\xF0\x9F\x9A\x80",
                                        "\x1b[31m", "\xff", "\n", "-"};
  for (int round = 0; round < 300; ++round) {
    Table table({"NAME", "TWO", "THREE", "FOUR"});
    for (int row = 0; row < 3; ++row) {
      std::vector<std::string> cells(4);
      for (std::string& cell : cells) {
        for (std::uint64_t i = prng.below(60); i > 0; --i) cell += pieces[prng.below(pieces.size())];
      }
      table.add(cells);
    }
    const std::size_t width = 40 + prng.below(120);
    CAPTURE(round, width);
    const std::vector<std::string> lines = lines_of(table.to_text(width));
    REQUIRE(lines.size() == 4);
    for (const std::string& line : lines) {
      CHECK(text_width(line) <= width);
      CHECK(line == printable(line));
    }
  }
}

TEST_CASE("texts: what a terminal obeys becomes blank, broken UTF-8 is marked", "[unit][cli][table]") {
  CHECK(printable("plain é 測 \xF0\x9F\x9A\x80") == "plain é 測 \xF0\x9F\x9A\x80");
  CHECK(printable("a\x1b[31mb\nc\x7f") == "a [31mb c ");
  CHECK(printable("a\xC2\x9B"
                  "31m") == "a 31m");  // the one-character form of ESC [
  CHECK(printable("a\xE2\x80\xAE"
                  "b") == "a b");  // right to left from here
  CHECK(printable("\xff"
                  "a\xc3") ==
        "\xEF\xBF\xBD"
        "a\xEF\xBF\xBD");
  CHECK(printable("\xE0\x80\x9B"
                  "x") == " x");  // ESC in too many bytes
  CHECK(text_width("abc") == 3);
  CHECK(text_width("é") == 1);
  CHECK(text_width("e\xCC\x81") == 1);  // e and a combining accent
  CHECK(text_width("測試") == 4);
}

TEST_CASE("table: colours only when asked for, and they take no room", "[unit][cli][table]") {
  Table table({"HOST", "STATE", "NOTE"});
  table.add({"h1", "UNKNOWN", "x"});
  CHECK(table.to_text(80).find('\x1b') == std::string::npos);
  CHECK(table.to_text(80, true) == "\x1b[1mHOST  STATE    NOTE\x1b[0m\nh1    \x1b[31mUNKNOWN\x1b[0m  x\n");
}

TEST_CASE("globs: a star stands for any run of characters, nothing else is special", "[unit][cli][glob]") {
  CHECK(matches_glob("hv-*", "hv-07"));
  CHECK(matches_glob("*", ""));
  CHECK(matches_glob("a*b*c", "axxbyyc"));
  CHECK(matches_glob("*-07", "hv-07"));
  CHECK_FALSE(matches_glob("hv-0", "hv-07"));
  CHECK_FALSE(matches_glob("hv-?7", "hv-07"));
  CHECK_FALSE(matches_glob("[a]*", "a"));
  CHECK_FALSE(matches_glob("", "a"));
}

}  // namespace table_test
