// A run as lines for people: what each daemon was told and asked for, and what really happened. Pure.
#pragma once

#include <functional>
#include <string>

#include "simulation/inspector.h"

namespace skep::sim {

/// Passes everything on to another inspector and tells it to a listener, line by line.
class Trace final : public simulation::Inspector {
 public:
  using Listener = std::function<void(const std::string&)>;
  Trace(simulation::Inspector& next, Listener listener) : next_(next), listener_(std::move(listener)) {}

  void on_scheduler_event(const simulation::World&, int, const scheduler::Event&) override;
  void on_scheduler_action(const simulation::World&, int, const scheduler::Action&) override;
  void on_agentd_event(const simulation::World&, const HostId&, const agentd::Event&) override;
  void on_agentd_action(const simulation::World&, const HostId&, const agentd::Action&) override;
  void before_driver_call(const simulation::World&, const HostId&, const agentd::CallDriver&) override;
  void before_delete_node(const simulation::World&, int, const std::string&) override;
  void before_create_node(const simulation::World&, int, const scheduler::CreateNode&) override;
  void on_build_changed(const simulation::World&, const controller_sim::BuildRecord&) override;
  void on_note(const simulation::World&, const std::string&) override;
  void after_event(const simulation::World&) override;

 private:
  void tell(const simulation::World&, const std::string& who, const std::string& what);
  simulation::Inspector& next_;
  Listener listener_;
};

}  // namespace skep::sim
