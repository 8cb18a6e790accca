// A driver without any sandbox: HostModel behind the driver contract, with real time and real blocking. For
// trying out a farm, and for tests of everything that uses drivers. Several drivers may share one host, as
// several agentds could.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "drivers/api/driver.h"
#include "drivers/fake/host_model.h"

namespace skep::drivers::fake {

/// The machine: outlives the drivers that work on it, as sandboxes outlive agentd. Thread-safe.
class FakeHost {
 public:
  explicit FakeHost(ModelOptions options = {});
  ~FakeHost();
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  /// Calls `change` with the model and the present time, while nobody else uses it; then waiting calls and
  /// change listeners look again. For scripts: `host.with_model([](HostModel& model, Instant now) { ... })`.
  void with_model(const std::function<void(HostModel&, Instant)>& change);
  /// Calls that hang end now, with outcome unknown.
  void release_hanging_calls();

 private:
  friend class FakeDriverImpl;
  struct State;
  std::shared_ptr<State> state_;
};

struct FakeDriverOptions {
  std::string name = "fake";
  std::string owner_tag = "skep";
  bool can_redeliver_ticket = true;
  bool reports_changes = true;
};

/// Also implements TicketDelivery and ChangeSource. A change listener must not call set_change_listener; when
/// that returns, the former listener does not run any more. Destroying the driver ends the calls that are
/// under way: outcome unknown.
std::unique_ptr<Driver> make_fake_driver(std::shared_ptr<FakeHost> host, FakeDriverOptions options = {});

}  // namespace skep::drivers::fake
