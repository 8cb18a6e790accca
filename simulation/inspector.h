// Sees the world from outside: what daemons ask for, and what is really so. The simulator's checkers are
// inspectors. No call may change the world. Pure.
#pragma once

#include <string>

#include "agentd/core/actions.h"
#include "scheduler/core/actions.h"
#include "simulation/controller/controller_model.h"

namespace skep::simulation {

struct World;

class Inspector {
 public:
  virtual ~Inspector() = default;
  virtual void on_scheduler_event(const World&, int /*scheduler*/, const scheduler::Event&) {}
  virtual void on_scheduler_action(const World&, int /*scheduler*/, const scheduler::Action&) {}
  virtual void on_agentd_event(const World&, const HostId&, const agentd::Event&) {}
  virtual void on_agentd_action(const World&, const HostId&, const agentd::Action&) {}
  /// Before the verb has its effect.
  virtual void before_driver_call(const World&, const HostId&, const agentd::CallDriver&) {}
  /// Before the controller does it.
  virtual void before_delete_node(const World&, int /*scheduler*/, const std::string& /*node*/) {}
  virtual void before_create_node(const World&, int /*scheduler*/, const scheduler::CreateNode&) {}
  /// Started, resumed or ended.
  virtual void on_build_changed(const World&, const controller_sim::BuildRecord&) {}
  /// A daemon ends or begins; the weather changes.
  virtual void on_note(const World&, const std::string& /*text*/) {}
  /// Something happened, and all that followed from it at once is done.
  virtual void after_event(const World&) {}
};

}  // namespace skep::simulation
