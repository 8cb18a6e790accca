// From a queue reply's bytes to orders that may go out: parse, decide, and the records durable in SQLite, as
// the daemon does it. The disk under the current folder is part of what is measured.
#include <filesystem>
#include <string>

#include "bench/core_bench.h"
#include "bench/fleet.h"
#include "bench/measure.h"
#include "bench/replies_data.h"
#include "common/journal/state_store.h"
#include "core/check.h"
#include "scheduler/jenkins/replies.h"
#include "scheduler/shell/records.h"

namespace skep::bench {

using namespace skep::scheduler;
namespace fs = std::filesystem;

namespace {

/// Runs of records become one transaction, as in the daemon. Returns how many transactions there were.
int write_records(journal::StateStore& store, const std::vector<Action>& actions) {
  int transactions = 0;
  std::vector<journal::Write> writes;
  const auto flush = [&] {
    if (writes.empty()) return;
    const bool is_written = store.apply(writes).has_value();
    SKEP_ASSERT(is_written);
    writes.clear();
    ++transactions;
  };
  for (const Action& action : actions) {
    const auto* record = std::get_if<RecordExecutor>(&action);
    if (record == nullptr) {
      flush();
    } else {
      writes.push_back({table_executors, record->record.id.text, encode_record(record->record)});
    }
  }
  flush();
  return transactions;
}

}  // namespace

json::Json bench_launches(const Effort& effort) {
  const int samples = effort.is_counted ? 1 : effort.samples > 0 ? effort.samples : 20;
  FleetSize size;
  size.items = effort.is_smoke ? 100 : 5000;
  size.hosts = effort.is_smoke ? 20 : 1000;
  const fs::path folder =
      fs::temp_directory_path() / ("skep-bench-" + std::to_string(Clock::now().time_since_epoch().count()));
  Samples rates;
  std::uint64_t launches = 0;
  int transactions = 0;
  for (int i = 0; i < samples; ++i) {
    auto store = journal::StateStore::open((folder / "scheduler.db").string());
    SKEP_ASSERT(store.has_value());
    Rig rig(size, 1'000'000);
    const std::uint64_t before = rig.logic().counters.launches;
    const std::string body = queue_body(make_queue(0, size.items));
    const auto start = Clock::now();
    auto items = parse_queue_reply(body);
    SKEP_ASSERT(items.has_value());
    QueueSnapshot queue;
    queue.items = std::move(*items);
    const std::vector<Action> actions = rig.read_queue(std::move(queue));
    transactions = write_records(**store, actions);
    const double seconds_taken = ms_since(start) / 1000;
    launches = rig.logic().counters.launches - before;
    rates.add(static_cast<double>(launches) / seconds_taken);
    store = Error::failed(ErrorCode::unavailable, "closed");
    fs::remove_all(folder);
  }
  json::Json out = rates.summary("launches/s");
  out["lowest"] = rates.quantile(0);
  out["launches"] = launches;
  out["transactions"] = transactions;
  return out;
}

}  // namespace skep::bench
