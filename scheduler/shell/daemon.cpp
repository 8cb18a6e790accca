#include "scheduler/shell/daemon.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <random>

#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "scheduler/shell/api_codec.h"
#include "scheduler/shell/consul_registry.h"
#include "scheduler/shell/embedded_registry.h"
#include "scheduler/shell/gate_watch.h"
#include "scheduler/shell/records.h"

namespace skep::scheduler {

using json::Json;

namespace {

constexpr int call_threads = 4;
constexpr int host_threads = 8;
constexpr auto closing_time = std::chrono::seconds(2);
constexpr std::size_t history_kept = 100'000;

std::uint64_t seed_from_system() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) ^ device();
}

log::Level to_log_level(Level level) {
  switch (level) {
    case Level::debug:
      return log::Level::debug;
    case Level::info:
      return log::Level::info;
    case Level::warning:
      return log::Level::warning;
    case Level::error:
      return log::Level::error;
  }
  return log::Level::info;
}

}  // namespace

Daemon::Daemon(FileConfig config, std::string config_file, std::string listen)
    : config_(std::move(config)), config_file_(std::move(config_file)), listen_(std::move(listen)) {
  if (!listen_.empty()) config_.listen = listen_;
}

Daemon::~Daemon() {
  stop();
}

std::string Daemon::url() const {
  return server_ ? server_->url() : "";
}

Result<void> Daemon::start(Epoch least_epoch) {
  if (auto opened = open_store(); !opened) return opened;
  if (auto opened = open_controllers(); !opened) return opened;
  logic_ = std::make_unique<SchedulerLogic>(config_.logic, Prng(seed_from_system()));
  host_calls_ = std::make_unique<shell::WorkerPool>("host calls", host_threads);
  strand_ = std::make_unique<shell::Strand>(
      "scheduler", [this] { return logic_->next_deadline(); }, [this] { handle(Tick{}); });

  http::ServerOptions server;
  server.listen = config_.listen;
  server.token_file = config_.token_file;
  server.tls_cert_file = config_.tls_certificate;
  server.tls_key_file = config_.tls_key;
  auto made = http::make_server(std::move(server));
  if (!made) return made.error();
  server_ = std::move(*made);
  if (auto opened = open_registry(); !opened) return opened;
  add_routes();

  auto started = read_back(least_epoch);
  if (!started) return started.error();
  loaded_at_ = shell::wall_now();
  const std::string farm = config_.logic.farm;  // from here on a reload may write it, on the strand
  strand_->start();
  post_event(std::move(*started));
  for (auto& [name, line] : controllers_) {
    if (line.companion) line.companion->start();
  }
  if (auto listening = server_->start(); !listening) return listening;
  registry_->start(
      {[this](const HostEndpoint& endpoint) { strand_->post([this, endpoint] { on_host(endpoint); }); },
       [this](const std::set<HostId>& listed) { strand_->post([this, listed] { on_host_list(listed); }); }});
  log::write(log::Level::info, "the scheduler leads",
             {{"farm", farm}, {"epoch", std::to_string(epoch_)}, {"api", server_->url()}});
  return {};
}

/// Before the server starts: the embedded one adds a route.
Result<void> Daemon::open_registry() {
  if (config_.registry.type == RegistryConfig::Type::embedded) {
    registry_ = std::make_unique<EmbeddedRegistry>(*server_);
    return {};
  }
  auto made = ConsulRegistry::make(config_.registry);
  if (!made) return made.error();
  registry_ = std::move(*made);
  return {};
}

Result<void> Daemon::open_store() {
  auto store = journal::StateStore::open(config_.state_dir + "/scheduler.db");
  if (!store) return store.error();
  store_ = std::move(*store);
  return {};
}

Result<LeaderStarted> Daemon::read_back(Epoch least_epoch) {
  LeaderStarted started;
  auto stored = store_->get(table_meta, "epoch");
  if (!stored) return stored.error();
  if (*stored) started.led_before = std::strtoull((*stored)->c_str(), nullptr, 10);
  epoch_ = std::max<Epoch>(started.led_before + 1, least_epoch);
  if (claim_epoch_) {
    const auto claimed = claim_epoch_(epoch_);
    if (!claimed) return claimed.error();
    epoch_ = *claimed;
  }
  if (auto written = store_->apply({{table_meta, "epoch", std::to_string(epoch_)}}); !written)
    return written.error();
  started.epoch = epoch_;
  auto executors = store_->list(table_executors);
  if (!executors) return executors.error();
  for (const auto& [id, text] : *executors) {
    auto record = decode_record(text);
    if (!record) return record.error();
    started.executors.push_back(std::move(*record));
  }
  auto drains = store_->list(table_drains);
  if (!drains) return drains.error();
  for (const auto& [host, reason] : *drains) started.drains.push_back({HostId(host), reason});
  auto images = store_->list(table_images);
  if (!images) return images.error();
  for (const auto& [name, text] : *images) {
    auto image = decode_image(text);
    if (!image) return image.error();
    started.images.push_back(std::move(*image));
  }
  auto pause = store_->get(table_meta, "pause");
  if (!pause) return pause.error();
  started.is_paused = pause->has_value();
  started.pause_reason = pause->value_or("");
  return started;
}

Result<void> Daemon::open_controllers() {
  for (std::size_t i = 0; i < config_.access.size(); ++i) {
    const ControllerAccess& access = config_.access[i];
    http::ClientOptions options;
    options.base_url = access.url;
    options.ca_file = access.ca_file;
    options.user_agent = "skep-scheduler";
    options.basic_user = access.user;
    if (!access.token_file.empty()) {
      auto token = shell::read_secret_file(access.token_file);
      if (!token) return token.error();
      options.basic_password = *token;
    }
    auto client = http::make_client(std::move(options));
    if (!client) return client.error();
    ControllerLine line;
    line.controller = std::make_unique<JenkinsController>(config_.logic.controllers[i], config_.logic.farm,
                                                          std::move(*client));
    line.calls = std::make_unique<shell::WorkerPool>("calls to " + access.name.text, call_threads);
    line.gates = std::make_unique<shell::WorkerPool>("gates of " + access.name.text,
                                                     3 * config_.logic.controllers[i].max_open_gates + 1);
    if (config_.logic.controllers[i].companion) {
      // What it told is not told again: only a base makes up for an event that was lost here.
      line.companion = std::make_unique<CompanionLine>(
          access.name, *line.controller, [this, controller = line.controller.get()](Event event) {
            if (!post_event(std::move(event), true)) controller->rebase_companion();
          });
    }
    controllers_.emplace(access.name, std::move(line));
  }
  return {};
}

void Daemon::stop() {
  if (is_stopping_.exchange(true)) return;
  if (registry_) registry_->stop();
  if (server_) server_->stop();
  close_open_gates();
  for (auto& [name, line] : controllers_) {
    line.controller->cancel();
    if (line.companion) line.companion->stop();
  }
  if (strand_) strand_->stop();
  for (auto& [host, line] : hosts_) line.link->stop();
  if (host_calls_) host_calls_->stop();
  for (auto& [name, line] : controllers_) {
    line.calls->stop();
    line.gates->stop();
  }
}

/// A gate that nobody watches must not stand open: watches and openings under way close theirs, for which
/// they get a moment.
void Daemon::close_open_gates() {
  const auto ended = std::async(std::launch::async, [this] {
    for (auto& [name, line] : controllers_) line.gates->stop();
  });
  if (ended.wait_for(closing_time) == std::future_status::ready) return;
  for (auto& [name, line] : controllers_) line.controller->cancel();
  ended.wait();
}

bool Daemon::post_event(Event event, bool is_urgent) {
  if (is_stopping_) return false;
  auto work = [this, event = std::move(event)] { handle(event); };
  // What is seen through an open gate must not wait for other executors' records to reach the disk.
  const bool is_taken = is_urgent ? strand_->post_urgent(std::move(work)) : strand_->post(std::move(work));
  if (!is_taken) {
    log::write(log::Level::error,
               "an event was lost because the scheduler is overloaded; the next look repeats it");
  }
  return is_taken;
}

void Daemon::handle(const Event& event) {
  if (!may_act()) return;
  run_actions(logic_->handle(event, shell::now(), shell::wall_now()));
}

void Daemon::run_actions(std::vector<Action> actions) {
  std::size_t next = 0;
  while (next < actions.size()) {
    if (!may_act() || !run_records(actions, next)) return;
    if (next < actions.size()) run(actions[next++]);
  }
}

/// Writes the run of records at `next` as one transaction; false when the store failed: then nothing after it
/// may happen.
bool Daemon::run_records(const std::vector<Action>& actions, std::size_t& next) {
  std::vector<journal::Write> writes;
  for (; next < actions.size(); ++next) {
    if (const auto* record = std::get_if<RecordExecutor>(&actions[next])) {
      writes.push_back({table_executors, record->record.id.text, encode_record(record->record)});
    } else if (const auto* forget = std::get_if<ForgetExecutor>(&actions[next])) {
      writes.push_back({table_executors, forget->executor.text, std::nullopt});
    } else if (const auto* drain = std::get_if<RecordDrain>(&actions[next])) {
      writes.push_back({table_drains, drain->host.text,
                        drain->is_draining ? std::optional<std::string>(drain->reason) : std::nullopt});
    } else if (const auto* image = std::get_if<RecordImage>(&actions[next])) {
      writes.push_back({table_images, image->image.name, encode_image(image->image)});
    } else if (const auto* pause = std::get_if<RecordPause>(&actions[next])) {
      writes.push_back(
          {table_meta, "pause", pause->is_paused ? std::optional<std::string>(pause->reason) : std::nullopt});
    } else {
      break;
    }
  }
  auto written = store_->apply(writes);
  if (written) return true;
  has_failed_ = true;
  log::write_error(
      "the scheduler stops before it does anything without a record; executors run on under their leases",
      written.error());
  if (on_failure_) on_failure_();
  return false;
}

void Daemon::run(const Action& action) {
  if (const auto* line = std::get_if<Explain>(&action)) return write_log(*line);
  if (const auto* audit = std::get_if<Audit>(&action)) return write_audit(*audit);
  const bool is_host_action =
      std::holds_alternative<OrderExecutor>(action) || std::holds_alternative<DestroyExecutor>(action) ||
      std::holds_alternative<RenewLeases>(action) || std::holds_alternative<PullImage>(action);
  is_host_action ? run_host_action(action) : run_controller_action(action);
}

void Daemon::run_controller_action(const Action& action) {
  if (const auto* a = std::get_if<RebaseCompanion>(&action)) {
    const auto found = controllers_.find(a->controller);
    if (found != controllers_.end()) found->second.controller->rebase_companion();
    return;
  }
  const Instant at_once = shell::now();
  if (const auto* a = std::get_if<ProfileController>(&action)) {
    const ControllerId name = a->controller;
    call_controller(
        name, false, at_once,
        [name](JenkinsController& c) {
          return Event(ControllerProfiled{name, c.profile()});
        },
        [name](const Error& e) {
          return Event(ControllerProfiled{name, e});
        });
    return;
  }
  if (const auto* a = std::get_if<ReadQueue>(&action)) {
    const ControllerId name = a->controller;
    call_controller(
        name, false, at_once,
        [name](JenkinsController& c) {
          const Instant started = shell::now();
          auto queue = c.read_queue();
          return Event(QueueRead{name, c.session(), started, std::move(queue)});
        },
        [name](const Error& e) {
          return Event(QueueRead{name, "", shell::now(), e});
        });
    return;
  }
  if (const auto* a = std::get_if<ReadNodes>(&action)) {
    const ControllerId name = a->controller;
    call_controller(
        name, false, at_once,
        [name](JenkinsController& c) {
          const Instant started = shell::now();
          auto nodes = c.read_nodes();
          return Event(NodesRead{name, c.session(), started, std::move(nodes)});
        },
        [name](const Error& e) {
          return Event(NodesRead{name, "", shell::now(), e});
        });
    return;
  }
  if (const auto* a = std::get_if<PollNode>(&action)) {
    call_controller(
        a->controller, a->is_gate_open, at_once + a->not_before,
        [this, p = *a](JenkinsController& c) {
          return Event(p.is_gate_open ? watch_gate(c, p, is_stopping_) : poll_node(c, p));
        },
        [p = *a](const Error& e) {
          return Event(NodePolled{p.controller, p.node, shell::now(), e});
        });
    return;
  }
  if (const auto* a = std::get_if<CreateNode>(&action)) {
    call_controller(
        a->controller, false, at_once,
        [p = *a](JenkinsController& c) {
          return Event(NodeCreated{p.call, p.node, c.create_node(p)});
        },
        [p = *a](const Error& e) {
          return Event(NodeCreated{p.call, p.node, e});
        });
    return;
  }
  if (const auto* a = std::get_if<CloseGate>(&action)) {
    call_controller(
        a->controller, true, at_once,
        [p = *a](JenkinsController& c) {
          return Event(GateClosed{p.call, p.node, c.close_gate(p.node.text, p.reason)});
        },
        [p = *a](const Error& e) {
          return Event(GateClosed{p.call, p.node, e});
        });
    return;
  }
  if (const auto* a = std::get_if<OpenGate>(&action)) {
    call_controller(
        a->controller, true, at_once,
        [this, p = *a](JenkinsController& c) { return Event(open_gate(c, p, is_stopping_)); },
        [p = *a](const Error& e) {
          return Event(GateOpened{p.call, p.node, e});
        });
    return;
  }
  if (const auto* a = std::get_if<Kick>(&action)) {
    call_controller(
        a->controller, true, at_once,
        [p = *a](JenkinsController& c) {
          return Event(Kicked{p.controller, c.kick()});
        },
        [p = *a](const Error& e) {
          return Event(Kicked{p.controller, e});
        });
    return;
  }
  if (const auto* a = std::get_if<DeleteNode>(&action)) {
    call_controller(
        a->controller, false, at_once,
        [p = *a](JenkinsController& c) {
          return Event(NodeDeleted{p.call, p.controller, p.node, c.delete_node(p.node)});
        },
        [p = *a](const Error& e) {
          return Event(NodeDeleted{p.call, p.controller, p.node, e});
        });
  }
}

void Daemon::run_host_action(const Action& action) {
  if (const auto* a = std::get_if<OrderExecutor>(&action)) {
    call_host(
        a->host,
        [p = *a](HostLink& h) {
          return Event(ExecutorOrdered{p.call, p.order.spec.id, h.order(p.order)});
        },
        [call = a->call, id = a->order.spec.id](const Error& e) {
          return Event(ExecutorOrdered{call, id, e});
        });
    return;
  }
  if (const auto* a = std::get_if<DestroyExecutor>(&action)) {
    call_host(
        a->host,
        [p = *a](HostLink& h) {
          return Event(ExecutorDestroyed{p.call, p.executor, h.destroy(p.executor, p.epoch)});
        },
        [p = *a](const Error& e) {
          return Event(ExecutorDestroyed{p.call, p.executor, e});
        });
    return;
  }
  if (const auto* a = std::get_if<PullImage>(&action)) {
    call_host(
        a->host,
        [p = *a](HostLink& h) {
          return Event(ImagePulled{p.call, p.host, p.reference, h.pull(p.reference)});
        },
        [p = *a](const Error& e) {
          return Event(ImagePulled{p.call, p.host, p.reference, e});
        });
    return;
  }
  if (const auto* a = std::get_if<RenewLeases>(&action)) {
    call_host(
        a->host,
        [p = *a](HostLink& h) {
          return Event(LeasesRenewed{p.call, p.host, h.renew(p.renewal)});
        },
        [p = *a](const Error& e) {
          return Event(LeasesRenewed{p.call, p.host, e});
        });
  }
}

void Daemon::call_controller(const ControllerId& name, bool is_urgent, Instant due,
                             std::function<Event(JenkinsController&)> call,
                             std::function<Event(const Error&)> refused) {
  const auto found = controllers_.find(name);
  const auto refuse = [&](const char* why) {
    post_event(refused(Error::try_again(ErrorCode::unavailable, why)));
  };
  if (found == controllers_.end()) return refuse("no such controller is configured");
  shell::WorkerPool& pool = is_urgent ? *found->second.gates : *found->second.calls;
  JenkinsController& controller = *found->second.controller;
  auto work = [this, &controller, is_urgent, call = std::move(call)] {
    post_event(call(controller), is_urgent);
  };
  if (due <= shell::now()) {
    if (!pool.submit(std::move(work))) refuse("too many calls to this controller are waiting");
    return;
  }
  strand_->post_at(due, [this, &pool, work = std::move(work), refused] {
    if (!pool.submit(work))
      post_event(
          refused(Error::try_again(ErrorCode::unavailable, "too many calls to this controller are waiting")));
  });
}

void Daemon::write_log(const Explain& line) {
  log::Fields fields = line.fields;
  if (!line.once_per_minute_key.empty()) {
    std::uint64_t held_back = 0;
    if (!limiter_.allows(line.once_per_minute_key, shell::now(), held_back)) return;
    if (held_back > 0) fields.emplace_back("held_back", std::to_string(held_back));
  }
  log::write(to_log_level(line.level), line.message, fields);
}

void Daemon::write_audit(const Audit& audit) {
  if (auto written = store_->append_history("executor", encode_audit(audit), shell::wall_now()); !written) {
    write_log({Level::error,
               "an audit record was not kept: " + written.error().message,
               {{"executor", audit.record.id.text}},
               "audit"});
  }
  if (++audits_ % 1000 == 0) static_cast<void>(store_->trim_history(history_kept).has_value());
  log::write(audit.is_violation     ? log::Level::error
             : audit.may_hide_build ? log::Level::warning
                                    : log::Level::info,
             audit.is_violation     ? "an executor served more than one build"
             : audit.may_hide_build ? "an executor ended; a second build on it cannot be ruled out"
                                    : "an executor ended",
             {{"executor", audit.record.id.text},
              {"end", audit.end},
              {"build", audit.record.build},
              {"gate_open_ms", std::to_string(audit.gate_open_ms)}});
  if (audit.coming_ms == 0) return;  // it never connected
  static const std::vector<double> buckets{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
  metrics_.observe("skep_executor_coming_seconds",
                   "from the decision to launch until the controller shows it connected",
                   {{"template", audit.record.template_name.text}},
                   static_cast<double>(audit.coming_ms) / 1000.0, buckets);
}

}  // namespace skep::scheduler
