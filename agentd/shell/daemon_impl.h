// The inside of Daemon: what runs on the strand. Only daemon.cpp, api.cpp and images_api.cpp include it.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agentd/core/logic.h"
#include "agentd/images/image_store.h"
#include "agentd/shell/announcer.h"
#include "agentd/shell/daemon.h"
#include "common/http/http_server.h"
#include "common/journal/state_store.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"
#include "common/shell/worker_pool.h"

namespace skep::agentd {

/// A blocking query: answered when the report's index differs, or at its deadline.
struct Waiter {
  std::uint64_t index = 0;
  http::Responder respond;
};

struct Daemon::Impl {
  Impl(AgentdConfig c, std::vector<std::unique_ptr<drivers::Driver>> d, images::ImageStore* i);
  ~Impl();

  AgentdConfig config;
  std::vector<std::unique_ptr<drivers::Driver>> drivers;
  std::map<std::string, drivers::Driver*> driver_by_name;
  images::ImageStore* images;  // or nullptr
  std::unique_ptr<journal::StateStore> store;
  Started started;
  metrics::Registry metrics;
  log::OncePerMinute limiter;

  // Touched on the strand only.
  AgentdLogic logic;
  std::map<RequestId, http::Responder> requests;
  RequestId last_request = 0;
  std::map<std::uint64_t, Waiter> waiters;
  std::uint64_t last_waiter = 0;
  std::uint64_t announced_index = 0;
  std::string encoded_report;  // of announced_index
  std::set<std::string> listed_drivers;

  std::mutex end_lock;  // guards is_ready_to_end
  std::condition_variable end_wake;
  bool is_ready_to_end = false;

  std::unique_ptr<http::Server> server;
  std::unique_ptr<Announcer> announcer;
  shell::WorkerPool pool;
  shell::Strand strand;

  Result<void> read_state();
  Result<void> start_server();
  Result<void> start_announcer();

  /// On the strand: one event, everything that follows from it, then those who wait for a change.
  void handle(const Event& event);
  /// From any thread; false when the daemon is ending or overloaded.
  bool post(Event event);

  // api.cpp
  void add_routes();
  void get_executors(const http::ServerRequest& request, http::Responder respond);
  void send(const Reply& reply);
  void wake_waiters();
  std::string metrics_text();
  // images_api.cpp
  void add_image_routes();
  void set_image_metrics(const images::StoreStatus& status);
  /// Decodes on the caller's thread, then asks the logic on the strand.
  void ask(http::Responder respond, std::function<Event(RequestId)> make_event);

 private:
  std::vector<Event> carry_out(const std::vector<Action>& actions);
  void submit(const CallDriver& action);
  /// A complete list of executors ends the holds of those that were lost.
  void tell_images(const Event& event);
  void write_log(const Explain& line);
};

}  // namespace skep::agentd
