#include "common/journal/state_store.h"

#include <sqlite3.h>

#include <filesystem>
#include <mutex>

namespace skep::journal {
namespace {

constexpr int schema_version = 1;

/// One prepared statement; finalised with its scope.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql) { code_ = sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr); }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, const std::string& text) {
    if (code_ == SQLITE_OK)
      code_ =
          sqlite3_bind_text(statement_, index, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(int index, std::int64_t value) {
    if (code_ == SQLITE_OK) code_ = sqlite3_bind_int64(statement_, index, value);
    return *this;
  }
  /// SQLITE_ROW, SQLITE_DONE or an error.
  int step() { return code_ == SQLITE_OK ? sqlite3_step(statement_) : code_; }
  std::string text(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return data == nullptr
               ? std::string()
               : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }
  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int code_ = SQLITE_OK;
};

}  // namespace

struct StateStore::Impl {
  sqlite3* db = nullptr;
  std::string file;
  std::mutex lock;  // guards db: one statement at a time

  ~Impl() { sqlite3_close(db); }

  Error error(const std::string& what, int code) const {
    const int primary = code & 0xff;
    const std::string message = what + " in the state file " + file + ": " + sqlite3_errstr(code);
    if (primary == SQLITE_FULL)
      return Error::failed(ErrorCode::out_of_resources, message, "make room on that disk");
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
      return Error::failed(ErrorCode::conflict, message, "another process has it open; end that one first");
    }
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
      return Error::failed(
          ErrorCode::generic, message,
          "move the file away; what exists is found again by looking at hosts and controllers");
    }
    return Error::failed(ErrorCode::generic, message);
  }
  /// True for a file without any content yet.
  Result<bool> check_file() {
    Statement version(db, "PRAGMA user_version");
    if (const int code = version.step(); code != SQLITE_ROW) return error("cannot read", code);
    if (version.integer(0) > schema_version) {
      return Error::failed(ErrorCode::unsupported,
                           "the state file " + file + " was written by a newer release",
                           "install that release again");
    }
    Statement check(db, "PRAGMA quick_check(1)");
    if (const int code = check.step(); code != SQLITE_ROW || check.text(0) != "ok")
      return error("damage found", code == SQLITE_ROW ? SQLITE_CORRUPT : code);
    if (version.integer(0) > 0) return false;
    Statement tables(db, "SELECT COUNT(*) FROM sqlite_master");
    if (const int code = tables.step(); code != SQLITE_ROW) return error("cannot read", code);
    if (tables.integer(0) > 0) {
      return Error::failed(ErrorCode::unsupported,
                           file + " is a database of something else, not a state file",
                           "give another state_dir");
    }
    return true;
  }
  Result<void> create_tables() {
    return run(("BEGIN IMMEDIATE;"
                "CREATE TABLE entries(tab TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "
                "PRIMARY KEY(tab,key)) WITHOUT ROWID;"
                "CREATE TABLE history(number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, "
                "kind TEXT NOT NULL, value TEXT NOT NULL);"
                "PRAGMA user_version=" +
                std::to_string(schema_version) + ";COMMIT")
                   .c_str());
  }
  Result<void> run(const char* sql) {
    const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return error("cannot write", sqlite3_extended_errcode(db));
    return {};
  }
};

StateStore::StateStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StateStore::~StateStore() = default;

Result<std::unique_ptr<StateStore>> StateStore::open(const std::string& file) {
  namespace fs = std::filesystem;
  std::error_code failure;
  const fs::path folder = fs::path(file).parent_path();
  if (!folder.empty() && !fs::exists(folder, failure)) {
    fs::create_directories(folder, failure);
    if (!failure) fs::permissions(folder, fs::perms::owner_all, failure);
    if (failure) {
      return Error::failed(ErrorCode::generic,
                           "cannot make the state folder " + folder.string() + ": " + failure.message());
    }
  }
  auto impl = std::make_unique<Impl>();
  impl->file = file;
  const int code = sqlite3_open_v2(
      file.c_str(), &impl->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  if (code != SQLITE_OK) return impl->error("cannot open", code);
  sqlite3_busy_timeout(impl->db, 1000);
  // Exclusive: two schedulers on one state file would each believe to own it.
  if (auto done = impl->run("PRAGMA locking_mode=EXCLUSIVE"); !done) return done.error();
  // Nothing is written before it is known that the file is ours.
  auto is_new = impl->check_file();
  if (!is_new) return is_new.error();
  for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"}) {
    if (auto done = impl->run(sql); !done) return done.error();
  }
  if (*is_new) {
    if (auto done = impl->create_tables(); !done) return done.error();
  }
  return std::unique_ptr<StateStore>(new StateStore(std::move(impl)));
}

Result<void> StateStore::apply(const std::vector<Write>& writes) {
  if (writes.empty()) return {};
  const std::lock_guard<std::mutex> guard(impl_->lock);
  if (auto begun = impl_->run("BEGIN IMMEDIATE"); !begun) return begun;
  for (const Write& write : writes) {
    int code = SQLITE_OK;
    if (write.value) {
      Statement put(impl_->db,
                    "INSERT INTO entries(tab,key,value) VALUES(?,?,?) ON CONFLICT(tab,key) DO UPDATE SET "
                    "value=excluded.value");
      code = put.bind(1, write.table).bind(2, write.key).bind(3, *write.value).step();
    } else {
      Statement erase(impl_->db, "DELETE FROM entries WHERE tab=? AND key=?");
      code = erase.bind(1, write.table).bind(2, write.key).step();
    }
    if (code != SQLITE_DONE) {
      const Error error = impl_->error("cannot write " + write.table + "/" + write.key, code);
      sqlite3_exec(impl_->db, "ROLLBACK", nullptr, nullptr, nullptr);
      return error;
    }
  }
  auto committed = impl_->run("COMMIT");
  if (!committed) sqlite3_exec(impl_->db, "ROLLBACK", nullptr, nullptr, nullptr);
  return committed;
}

Result<std::vector<std::pair<std::string, std::string>>> StateStore::list(const std::string& table) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement query(impl_->db, "SELECT key,value FROM entries WHERE tab=? ORDER BY key");
  query.bind(1, table);
  std::vector<std::pair<std::string, std::string>> rows;
  int code = query.step();
  for (; code == SQLITE_ROW; code = query.step()) rows.emplace_back(query.text(0), query.text(1));
  if (code != SQLITE_DONE) return impl_->error("cannot read " + table, code);
  return rows;
}

Result<std::optional<std::string>> StateStore::get(const std::string& table, const std::string& key) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement query(impl_->db, "SELECT value FROM entries WHERE tab=? AND key=?");
  const int code = query.bind(1, table).bind(2, key).step();
  if (code == SQLITE_ROW) return std::optional<std::string>(query.text(0));
  if (code == SQLITE_DONE) return std::optional<std::string>();
  return impl_->error("cannot read " + table + "/" + key, code);
}

Result<void> StateStore::append_history(const std::string& kind, const std::string& value, WallTime at) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement put(impl_->db, "INSERT INTO history(at_ms,kind,value) VALUES(?,?,?)");
  const int code = put.bind(1, at.ms_since_epoch).bind(2, kind).bind(3, value).step();
  if (code != SQLITE_DONE) return impl_->error("cannot write the history", code);
  return {};
}

Result<std::vector<HistoryEntry>> StateStore::read_history(std::size_t limit, const std::string& kind,
                                                           std::int64_t before) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement query(impl_->db,
                  "SELECT number,at_ms,kind,value FROM history WHERE number<?2 AND (?3='' OR kind=?3) "
                  "ORDER BY number DESC LIMIT ?1");
  query.bind(1, static_cast<std::int64_t>(limit)).bind(2, before).bind(3, kind);
  std::vector<HistoryEntry> rows;
  int code = query.step();
  for (; code == SQLITE_ROW; code = query.step()) {
    rows.push_back({query.integer(0), WallTime{query.integer(1)}, query.text(2), query.text(3)});
  }
  if (code != SQLITE_DONE) return impl_->error("cannot read the history", code);
  return rows;
}

Result<void> StateStore::trim_history(std::size_t keep) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement erase(impl_->db, "DELETE FROM history WHERE number <= (SELECT MAX(number) FROM history) - ?");
  const int code = erase.bind(1, static_cast<std::int64_t>(keep)).step();
  if (code != SQLITE_DONE) return impl_->error("cannot trim the history", code);
  return {};
}

Result<void> StateStore::limit_size(std::int64_t bytes) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  Statement page(impl_->db, "PRAGMA page_size");
  if (page.step() != SQLITE_ROW || page.integer(0) <= 0) return impl_->error("cannot read", SQLITE_ERROR);
  const std::int64_t pages = bytes / page.integer(0) + 1;
  Statement limit(impl_->db, ("PRAGMA max_page_count=" + std::to_string(pages)).c_str());
  if (limit.step() != SQLITE_ROW) return impl_->error("cannot limit", SQLITE_ERROR);
  return {};
}

}  // namespace skep::journal
