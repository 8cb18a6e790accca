#include "agentd/shell/daemon.h"

#include <deque>
#include <random>
#include <set>
#include <utility>

#include "agentd/shell/daemon_impl.h"
#include "agentd/shell/driver_calls.h"
#include "agentd/shell/records.h"
#include "common/json/json.h"
#include "common/shell/clock.h"

namespace skep::agentd {
namespace {

std::string new_boot_id() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 16; ++i) id += "0123456789abcdef"[device() % 16];
  return id;
}

/// One record as a write of the store; false when the action is none.
bool to_write(const Action& action, journal::Write& out) {
  if (const auto* intent = std::get_if<RecordIntent>(&action)) {
    out = {table_intents, intent->record.spec.id.text, encode_intent(intent->record)};
  } else if (const auto* forget = std::get_if<ForgetIntent>(&action)) {
    out = {table_intents, forget->id.text, std::nullopt};
  } else if (const auto* epoch = std::get_if<RecordEpoch>(&action)) {
    out = {table_meta, "epoch", std::to_string(epoch->epoch)};
  } else if (const auto* drain = std::get_if<RecordDrain>(&action)) {
    out = {table_meta, "drain", encode_drain({drain->is_draining, drain->reason})};
  } else {
    return false;
  }
  return true;
}

/// Successive records of one list, written together: one durable write instead of many.
struct RecordBatch {
  std::vector<journal::Write> writes;
  std::vector<ExecutorId> executors;
  bool has_state = false;

  void add(const Action& action, journal::Write write) {
    writes.push_back(std::move(write));
    const ExecutorId& id = executor_of(action);
    if (id.empty()) {
      has_state = true;
    } else {
      executors.push_back(id);
    }
  }
};

}  // namespace

Daemon::Impl::Impl(AgentdConfig c, std::vector<std::unique_ptr<drivers::Driver>> d, images::ImageStore* i)
    : config(std::move(c)),
      drivers(std::move(d)),
      images(i),
      logic(config.logic),
      pool("agentd-driver", config.worker_threads),
      strand(
          "agentd", [this] { return logic.next_deadline(); }, [this] { handle(Tick{}); }) {
  for (const auto& driver : drivers) driver_by_name[driver->name()] = driver.get();
}

Daemon::Impl::~Impl() {
  for (const auto& driver : drivers) {
    if (auto* source = dynamic_cast<drivers::ChangeSource*>(driver.get())) source->set_change_listener({});
  }
  if (announcer) announcer->stop();
  if (server) server->stop();
  pool.stop();
  if (images != nullptr) images->stop();  // after those who ask it, before what it tells
  strand.stop();
}

Result<void> Daemon::Impl::read_state() {
  const std::string file = config.state_dir + "/state.db";
  auto opened = journal::StateStore::open(file);
  if (!opened) return opened.error();
  store = std::move(*opened);
  const auto unreadable = [&file](const std::string& what) {
    return Error::failed(
        ErrorCode::invalid_input, file + ": " + what,
        "restore the file from a copy, or remove it: executors that it does not name are then destroyed");
  };
  const auto epoch = store->get(table_meta, "epoch");
  if (!epoch) return epoch.error();
  if (*epoch) {
    const auto number = json::parse_strict(**epoch);
    if (!number || !number->is_number_unsigned()) return unreadable("the epoch is no number");
    started.epoch_seen = number->get<Epoch>();
  }
  const auto drain = store->get(table_meta, "drain");
  if (!drain) return drain.error();
  if (*drain) {
    auto record = decode_drain(**drain);
    if (!record) return unreadable(record.error().message);
    started.is_draining = record->is_draining;
    started.drain_reason = record->reason;
  }
  const auto intents = store->list(table_intents);
  if (!intents) return intents.error();
  for (const auto& [key, value] : *intents) {
    auto record = decode_intent(value);
    if (!record) return unreadable("intent of " + key + ": " + record.error().message);
    started.intents.push_back(std::move(*record));
  }
  started.boot_id = new_boot_id();
  for (const auto& driver : drivers) started.drivers.push_back(describe(*driver));
  return {};
}

Result<void> Daemon::Impl::start_server() {
  http::ServerOptions options;
  options.listen = config.listen;
  options.token_file = config.token_file;
  options.tls_cert_file = config.tls_certificate;
  options.tls_key_file = config.tls_key;
  auto made = http::make_server(options);
  if (!made) return made.error();
  server = std::move(*made);
  add_routes();
  return server->start();
}

Result<void> Daemon::Impl::start_announcer() {
  const RegistryConfig& registry = config.registry;
  const bool is_embedded = registry.type == RegistryConfig::Type::embedded;
  if (registry.type == RegistryConfig::Type::none || (is_embedded && registry.scheduler_url.empty()))
    return {};
  HostAnnouncement announcement;
  announcement.host = config.logic.host;
  announcement.agentd_url = config.advertise_url.empty() ? server->url() : config.advertise_url;
  announcement.boot_id = started.boot_id;
  announcement.ttl = registry.ttl;
  std::vector<std::string> names;
  for (const auto& [name, driver] : driver_by_name) names.push_back(name);
  auto line = is_embedded ? make_embedded_line(registry, announcement)
                          : make_consul_line(registry, announcement,
                                             consul_metadata(config.logic, names, announcement.agentd_url));
  if (!line) return line.error();
  announcer = std::make_unique<Announcer>(std::move(*line), announcement.host, announcement.ttl);
  announcer->start();
  return {};
}

void Daemon::Impl::handle(const Event& event) {
  std::deque<Event> queue{event};
  while (!queue.empty()) {
    const Event next = std::move(queue.front());
    queue.pop_front();
    // A failed record is the very next event, before anything that was waiting.
    std::vector<Event> failures = carry_out(logic.handle(next, shell::now(), shell::wall_now()));
    if (images != nullptr) tell_images(next);
    queue.insert(queue.begin(), std::make_move_iterator(failures.begin()),
                 std::make_move_iterator(failures.end()));
  }
  wake_waiters();
  if (!logic.is_ready_to_end()) return;
  {
    const std::lock_guard<std::mutex> guard(end_lock);
    is_ready_to_end = true;
  }
  end_wake.notify_all();
}

void Daemon::Impl::tell_images(const Event& event) {
  const auto* listed = std::get_if<DriverListed>(&event);
  if (listed == nullptr || !listed->result) return;
  listed_drivers.insert(listed->driver);
  if (listed_drivers.size() < drivers.size()) return;
  std::set<ExecutorId> known;
  for (const ExecutorReport& executor : logic.report().executors) known.insert(executor.id);
  images->keep_holds_of(std::move(known));
}

std::vector<Event> Daemon::Impl::carry_out(const std::vector<Action>& actions) {
  std::vector<Event> failures;
  std::set<ExecutorId> failed;
  bool has_lost_state = false;
  RecordBatch batch;
  const auto flush = [&] {
    if (batch.writes.empty()) return;
    const auto written = store->apply(batch.writes);
    if (!written) {
      for (const ExecutorId& id : batch.executors) {
        if (failed.insert(id).second) failures.emplace_back(IntentNotRecorded{id, written.error()});
      }
      if (batch.has_state) failures.emplace_back(StateNotRecorded{written.error()});
      has_lost_state = has_lost_state || batch.has_state;
    }
    batch = {};
  };
  for (const Action& action : actions) {
    if (const auto* line = std::get_if<Explain>(&action)) {
      write_log(*line);
      continue;
    }
    const bool is_dropped = failed.count(executor_of(action)) != 0;
    journal::Write write;
    if (to_write(action, write)) {
      if (!is_dropped) batch.add(action, std::move(write));
      const auto* record = std::get_if<RecordIntent>(&action);
      if (images != nullptr && record != nullptr && record->record.state == IntentState::gone)
        images->forget(record->record.spec.id);
      continue;
    }
    flush();
    if (failed.count(executor_of(action)) != 0) continue;
    if (const auto* call = std::get_if<CallDriver>(&action)) submit(*call);
    const auto* reply = std::get_if<Reply>(&action);
    if (reply != nullptr && !(reply->needs_state && has_lost_state)) send(*reply);
  }
  flush();
  return failures;
}

void Daemon::Impl::submit(const CallDriver& action) {
  const auto found = driver_by_name.find(action.driver);
  SKEP_ASSERT(found != driver_by_name.end());
  drivers::Driver* driver = found->second;
  const bool is_accepted = pool.submit([this, driver, action] {
    const Instant begin = shell::now();
    Event answer = run_call(*driver, action);
    const double took = std::chrono::duration<double>(shell::now() - begin).count();
    metrics.observe("skep_agentd_driver_call_seconds", "How long driver verbs take",
                    {{"driver", action.driver}, {"verb", verb_name(action.verb)}}, took,
                    {0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60});
    if (!post(std::move(answer))) {
      log::write(log::Level::warning,
                 "an answer of a driver came after the end; the next start looks for itself");
    }
  });
  if (is_accepted) return;
  const Error error = Error::try_again(ErrorCode::unavailable, "too many driver calls are waiting");
  // Not at once: the logic is not asked again while its list is carried out.
  static_cast<void>(post(refuse_call(action, error)));
}

void Daemon::Impl::write_log(const Explain& line) {
  log::Fields fields = line.fields;
  if (!line.once_per_minute_key.empty()) {
    std::uint64_t held_back = 0;
    if (!limiter.allows(line.once_per_minute_key, shell::now(), held_back)) return;
    if (held_back > 0) fields.emplace_back("held_back", std::to_string(held_back));
  }
  const auto level = line.level == Level::debug     ? log::Level::debug
                     : line.level == Level::info    ? log::Level::info
                     : line.level == Level::warning ? log::Level::warning
                                                    : log::Level::error;
  log::write(level, line.message, fields);
}

bool Daemon::Impl::post(Event event) {
  return strand.post([this, event = std::move(event)] { handle(event); });
}

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::~Daemon() = default;

Result<std::unique_ptr<Daemon>> Daemon::make(AgentdConfig config,
                                             std::vector<std::unique_ptr<drivers::Driver>> drivers,
                                             images::ImageStore* images) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(drivers), images);
  if (impl->config.logic.host.empty())
    return Error::failed(ErrorCode::invalid_input, "the host has no name", "set host in the configuration");
  if (auto read = impl->read_state(); !read) return read.error();
  return std::unique_ptr<Daemon>(new Daemon(std::move(impl)));
}

Result<void> Daemon::start() {
  Impl& impl = *impl_;
  impl.strand.start();
  if (!impl.post(impl.started)) return Error::failed(ErrorCode::generic, "agentd's strand did not start");
  for (const auto& driver : impl.drivers) {
    if (auto* source = dynamic_cast<drivers::ChangeSource*>(driver.get())) {
      source->set_change_listener(
          [&impl](const ExecutorId& id) { static_cast<void>(impl.post(InstanceChanged{id})); });
    }
  }
  if (impl.images != nullptr) {
    impl.images->set_change_listener([&impl] { static_cast<void>(impl.post(ImagesChanged{})); });
    impl.images->start();
  }
  if (auto served = impl.start_server(); !served) return served.error();
  if (auto announced = impl.start_announcer(); !announced) return announced.error();
  return {};
}

std::string Daemon::url() const {
  return impl_->server ? impl_->server->url() : std::string{};
}

void Daemon::request_stop(OnStop on_stop) {
  static_cast<void>(impl_->post(StopRequested{on_stop}));
}

bool Daemon::wait_until_ready_to_end(Duration limit) {
  std::unique_lock<std::mutex> guard(impl_->end_lock);
  return impl_->end_wake.wait_for(guard, limit, [this] { return impl_->is_ready_to_end; });
}

void Daemon::stop() {
  impl_.reset();
}

Result<void> Daemon::limit_state_size(std::int64_t bytes) {
  return impl_->store->limit_size(bytes);
}

}  // namespace skep::agentd
