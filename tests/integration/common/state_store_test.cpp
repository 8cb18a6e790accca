#include "common/journal/state_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "core/prng.h"
#include "tests/support/certificates.h"

namespace state_store_test {

using namespace skep;
using journal::StateStore;
using test::TempFolder;

namespace {

std::unique_ptr<StateStore> open(const std::string& file) {
  auto store = StateStore::open(file);
  INFO((store ? "" : store.error().message));
  REQUIRE(store);
  return std::move(*store);
}

std::string bytes_of(const std::string& file) {
  std::ostringstream out;
  out << std::ifstream(file, std::ios::binary).rdbuf();
  return out.str();
}

void run_sql(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

/// The start fails with `words` in its message, and the file is as it was.
void check_refused(const std::string& file, const std::string& words) {
  const std::string before = bytes_of(file);
  const auto store = StateStore::open(file);
  REQUIRE_FALSE(store);
  INFO(store.error().message);
  CHECK(store.error().message.find(words) != std::string::npos);
  CHECK(store.error().message.find(file) != std::string::npos);
  CHECK(bytes_of(file) == before);
}

/// Writes pairs that belong together until it is killed; tells on `out` what is durable.
[[noreturn]] void write_until_killed(const std::string& file, int out) {
  auto store = StateStore::open(file);
  if (!store) _exit(3);
  const auto last = (*store)->get("t", "a");
  std::uint32_t number = last && *last ? static_cast<std::uint32_t>(std::stoul(**last)) : 0;
  for (;;) {
    ++number;
    const std::string text = std::to_string(number) + std::string(number % 3000, 'x');
    if (!(*store)->apply(
            {{"t", "a", std::to_string(number)}, {"t", "fill", text}, {"t", "b", std::to_string(number)}}))
      _exit(4);
    if (::write(out, &number, sizeof number) != sizeof number) _exit(5);
  }
}

}  // namespace

TEST_CASE("what was written is there after a new start, in order, and nothing else") {
  const TempFolder folder;
  const std::string file = folder.file("new/state.db");
  {
    const auto store = open(file);
    REQUIRE(store->apply({{"t", "b", "2"}, {"t", "a", std::string("x\0y", 3)}, {"other", "a", "3"}}));
    REQUIRE(store->apply({{"t", "c", "9"}, {"t", "b", std::nullopt}, {"t", "gone", std::nullopt}}));
    for (int i = 1; i <= 5; ++i)
      REQUIRE(store->append_history(i % 2 == 0 ? "even" : "odd", std::to_string(i), WallTime{i}));
    REQUIRE(store->trim_history(3));
  }
  const auto store = open(file);
  const auto rows = store->list("t");
  REQUIRE(rows);
  CHECK(*rows == std::vector<std::pair<std::string, std::string>>{{"a", std::string("x\0y", 3)}, {"c", "9"}});
  CHECK(**store->get("other", "a") == "3");
  CHECK_FALSE(store->get("other", "b")->has_value());
  const auto history = store->read_history(10);
  REQUIRE(history);
  REQUIRE(history->size() == 3);
  CHECK(history->front().value == "5");
  CHECK(store->read_history(10, "even")->size() == 1);
  CHECK(store->read_history(1)->size() == 1);
  const auto older = store->read_history(10, "odd", history->front().number);
  REQUIRE(older->size() == 1);
  CHECK(older->front().value == "3");
}

TEST_CASE("a batch is whole or not at all, also when the disk is full, and later batches work") {
  const TempFolder folder;
  const auto store = open(folder.file("state.db"));
  REQUIRE(store->apply({{"t", "a", "old"}}));
  REQUIRE(store->limit_size(100'000));
  const auto full = store->apply({{"t", "a", "new"}, {"t", "large", std::string(1'000'000, 'x')}});
  REQUIRE_FALSE(full);
  CHECK(full.error().code == ErrorCode::out_of_resources);
  CHECK(full.error().outcome == Outcome::failed);
  CHECK(**store->get("t", "a") == "old");
  CHECK_FALSE(store->get("t", "large")->has_value());
  REQUIRE(store->apply({{"t", "a", "newer"}}));
  CHECK(**store->get("t", "a") == "newer");
}

TEST_CASE("a second process or object cannot open what is open") {
  const TempFolder folder;
  const auto first = open(folder.file("state.db"));
  REQUIRE(first->apply({{"t", "a", "1"}}));
  const auto second = StateStore::open(folder.file("state.db"));
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::conflict);
  CHECK(**first->get("t", "a") == "1");
}

TEST_CASE("a file of a newer release, of something else, or damaged stops the start and stays as it is") {
  const TempFolder folder;
  const std::string newer = folder.file("newer.db");
  open(newer)->apply({{"t", "a", "1"}}).has_value();
  run_sql(newer, "PRAGMA journal_mode=DELETE; PRAGMA user_version=2; CREATE TABLE later(x)");
  check_refused(newer, "written by a newer release");

  const std::string foreign = folder.file("foreign.db");
  run_sql(foreign, "CREATE TABLE entries(other)");
  check_refused(foreign, "of something else");

  check_refused(
      folder.write("text.db", "this is no database, but somebody's notes\n" + std::string(2000, 'x')),
      "not a database");

  const std::string damaged = folder.file("damaged.db");
  {
    const auto store = open(damaged);
    for (int i = 0; i < 300; ++i) REQUIRE(store->apply({{"t", std::to_string(i), std::string(500, 'y')}}));
  }
  std::string bytes = bytes_of(damaged);
  REQUIRE(bytes.size() > 20'000);
  for (std::size_t page = 2; page < 12; ++page) bytes.replace(page * 4096, 200, std::string(200, '\x5a'));
  folder.write("damaged.db", bytes);
  check_refused(damaged, "state file");
  folder.write("damaged.db", bytes.substr(0, 9'000));
  check_refused(damaged, "state file");
}

TEST_CASE("a folder that cannot be made is named") {
  const TempFolder folder;
  const std::string file = folder.write("file", "x");
  const auto store = StateStore::open(file + "/below/state.db");
  REQUIRE_FALSE(store);
  CHECK(store.error().message.find(file) != std::string::npos);
}

TEST_CASE("kill -9 in the middle of writes: what was durable is there, and no batch in halves") {
  const TempFolder folder;
  const std::string file = folder.file("state.db");
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  Prng random(seed);
  std::uint32_t told = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(file, ends[1]);
    }
    ::close(ends[1]);
    std::uint32_t number = 0;
    for (std::uint64_t left = 1 + random.below(25); left > 0; --left) {
      REQUIRE(::read(ends[0], &number, sizeof number) == sizeof number);
      told = number;
    }
    ::usleep(static_cast<useconds_t>(random.below(3000)));  // the random moment itself
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    while (::read(ends[0], &number, sizeof number) == sizeof number) told = number;
    ::close(ends[0]);
    const auto store = open(file);
    const std::string a = **store->get("t", "a"), b = **store->get("t", "b");
    CHECK(a == b);
    CHECK(std::stoul(a) >= told);
    CHECK(std::stoul(a) <= told + 1);
  }
}

}  // namespace state_store_test
