#include "tests/sim/trace.h"

#include <array>

#include "simulation/world.h"

namespace skep::sim {
namespace {

using simulation::World;

template <typename T>
std::string outcome_of(const Result<T>& result) {
  if (result) return ": ok";
  return std::string(": ") + to_string(result.error().outcome) + ", " + result.error().message;
}

std::string text_of(const scheduler::ExecutorRecord& record) {
  std::string text = record.id.text + " " + std::string(to_string(record.state)) + " on " + record.host.text;
  if (!record.image.empty()) text += ", of " + record.image;
  if (record.was_opened) text += ", was opened";
  if (record.was_used) text += ", was used by " + record.build;
  if (record.held_until) text += ", held";
  return text;
}

std::string text_of(const scheduler::NodeFact& fact) {
  std::string text = fact.name + (fact.is_connected ? " connected" : " not connected");
  if (fact.is_temporarily_offline) text += " closed (" + fact.offline_reason + ")";
  if (!fact.is_idle) text += " not idle";
  for (const std::string& build : fact.builds) text += " " + build;
  return text;
}

std::string text_of(const HostReport& report) {
  std::string text = report.host.text + " index " + std::to_string(report.index);
  for (const ExecutorReport& each : report.executors)
    text += ", " + each.id.text + " " + std::string(to_string(each.state)) + "/" +
            std::string(to_string(each.agent));
  return text;
}

std::string text_of(const LeaseRenewal& renewal) {
  std::string text = ":";
  for (const auto& entry : renewal.executors) text += " " + entry.id.text + (entry.is_busy ? " busy" : "");
  return text;
}

struct EventText {
  std::string operator()(const scheduler::LeaderStarted& e) const {
    return "leads, epoch " + std::to_string(e.epoch) + ", " + std::to_string(e.executors.size()) + " records";
  }
  std::string operator()(const scheduler::ConfigChanged&) const { return "new configuration"; }
  std::string operator()(const scheduler::ControllerProfiled& e) const {
    return "profile" + outcome_of(e.profile);
  }
  std::string operator()(const scheduler::QueueRead& e) const {
    if (!e.queue) return "queue" + outcome_of(e.queue);
    std::string text = "queue:";
    for (const scheduler::QueueItem& item : e.queue->items)
      text += " " + std::to_string(item.id) + "[" + item.label.value_or("?") + "]";
    return text;
  }
  std::string operator()(const scheduler::NodesRead& e) const {
    if (!e.nodes) return "nodes" + outcome_of(e.nodes);
    std::string text = "nodes:";
    for (const scheduler::NodeFact& node : e.nodes->nodes) text += " " + text_of(node) + ";";
    return text;
  }
  std::string operator()(const scheduler::NodePolled& e) const {
    if (!e.fact) return "node " + e.node.text + outcome_of(e.fact);
    return "node " + (*e.fact ? text_of(**e.fact) : e.node.text + " is absent") +
           (e.watch ? ", watched" : "");
  }
  std::string operator()(const scheduler::NodeCreated& e) const {
    return "node created " + e.node.text + outcome_of(e.secret);
  }
  std::string operator()(const scheduler::GateClosed& e) const {
    return "gate closed " + e.node.text + outcome_of(e.result);
  }
  std::string operator()(const scheduler::GateOpened& e) const {
    return "gate opened " + e.node.text + outcome_of(e.result) +
           (e.result && e.result->was_open ? ", it was open" : "");
  }
  std::string operator()(const scheduler::Kicked& e) const { return "kicked" + outcome_of(e.result); }
  std::string operator()(const scheduler::NodeDeleted& e) const {
    return "node deleted " + e.node + outcome_of(e.result);
  }
  std::string operator()(const scheduler::HostReported& e) const { return "host " + text_of(e.report); }
  std::string operator()(const scheduler::HostUnseen& e) const {
    return "host " + e.host.text + " unseen: " + e.error.message;
  }
  std::string operator()(const scheduler::HostDeparted& e) const {
    return "host " + e.host.text + " departed";
  }
  std::string operator()(const scheduler::ExecutorOrdered& e) const {
    return "ordered " + e.executor.text + outcome_of(e.result);
  }
  std::string operator()(const scheduler::ExecutorDestroyed& e) const {
    return "destroyed " + e.executor.text + outcome_of(e.result) +
           (e.result ? " " + std::string(to_string(e.result->state)) : "");
  }
  std::string operator()(const scheduler::LeasesRenewed& e) const {
    return "leases renewed on " + e.host.text + outcome_of(e.result);
  }
  std::string operator()(const scheduler::DrainHost& e) const { return "drain " + e.host.text; }
  std::string operator()(const scheduler::UndrainHost& e) const { return "undrain " + e.host.text; }
  std::string operator()(const scheduler::HoldExecutor& e) const { return "hold " + e.executor.text; }
  std::string operator()(const scheduler::RetireExecutor& e) const {
    return "retire " + e.executor.text + (e.even_if_busy ? " even if busy" : "");
  }
  std::string operator()(const scheduler::PauseLaunching&) const { return "pause"; }
  std::string operator()(const scheduler::ResumeLaunching&) const { return "resume"; }
  std::string operator()(const scheduler::ForgetHost& e) const { return "forget " + e.host.text; }
  std::string operator()(const scheduler::CompanionTold& e) const {
    std::string text = e.is_base ? "told as a base:" : "told:";
    for (const scheduler::QueueItem& item : e.queue.items)
      text += " " + std::to_string(item.id) + "[" + item.label.value_or("?") + "]";
    for (const scheduler::NodeNews& news : e.nodes)
      text += "; " + news.node + " " + std::string(to_string(news.kind));
    return text;
  }
  std::string operator()(const scheduler::CompanionLost& e) const {
    return "companion lost: " + e.error.message;
  }
  std::string operator()(const scheduler::RollOutImage& e) const {
    return "roll out " + e.order.image + " to " + e.order.version + (e.order.is_now ? " now" : "");
  }
  std::string operator()(const scheduler::RollBackImage& e) const { return "roll back " + e.image; }
  std::string operator()(const scheduler::ImagePulled& e) const {
    return "pulled " + e.reference + " on " + e.host.text + outcome_of(e.problem);
  }
  std::string operator()(const scheduler::Tick&) const { return "tick"; }

  std::string operator()(const agentd::Started& e) const {
    return "starts with " + std::to_string(e.intents.size()) + " intents";
  }
  std::string operator()(const agentd::OrderArrived& e) const {
    return "order " + e.order.spec.id.text + ", epoch " + std::to_string(e.order.epoch) + ", attempt " +
           std::to_string(e.order.ticket.attempt);
  }
  std::string operator()(const agentd::DestroyArrived& e) const {
    return "destroy " + e.id.text + ", epoch " + std::to_string(e.epoch);
  }
  std::string operator()(const agentd::LeasesArrived& e) const { return "leases" + text_of(e.renewal); }
  std::string operator()(const agentd::DrainSet& e) const { return e.is_draining ? "drain" : "undrain"; }
  std::string operator()(const agentd::DriverProbed& e) const { return "probed" + outcome_of(e.result); }
  std::string operator()(const agentd::DriverListed& e) const { return "listed" + outcome_of(e.result); }
  std::string operator()(const agentd::DriverStarted& e) const {
    return "started " + e.id.text + outcome_of(e.result);
  }
  std::string operator()(const agentd::DriverInspected& e) const {
    return "inspected " + e.id.text + outcome_of(e.result) +
           (e.result ? " " + std::to_string(static_cast<int>(e.result->state)) : "");
  }
  std::string operator()(const agentd::DriverRecovered& e) const {
    return "recovered " + e.id.text + outcome_of(e.result);
  }
  std::string operator()(const agentd::DriverStopped& e) const {
    return "stopped " + e.id.text + outcome_of(e.result);
  }
  std::string operator()(const agentd::DriverDestroyed& e) const {
    return "destroyed " + e.id.text + outcome_of(e.result);
  }
  std::string operator()(const agentd::TicketDelivered& e) const {
    return "ticket delivered " + e.id.text + outcome_of(e.result);
  }
  std::string operator()(const agentd::InstanceChanged& e) const { return "changed " + e.id.text; }
  std::string operator()(const agentd::ImagesChanged&) const { return "images changed"; }
  std::string operator()(const agentd::IntentNotRecorded& e) const { return "not recorded " + e.id.text; }
  std::string operator()(const agentd::StateNotRecorded&) const { return "state not recorded"; }
  std::string operator()(const agentd::Tick&) const { return "tick"; }
  std::string operator()(const agentd::StopRequested&) const { return "asked to end"; }
};

struct ActionText {
  std::string operator()(const scheduler::RecordExecutor& a) const { return "record " + text_of(a.record); }
  std::string operator()(const scheduler::ForgetExecutor& a) const { return "forget " + a.executor.text; }
  std::string operator()(const scheduler::RecordDrain& a) const { return "record drain of " + a.host.text; }
  std::string operator()(const scheduler::RecordPause& a) const {
    return a.is_paused ? "record pause" : "record resume";
  }
  std::string operator()(const scheduler::RecordImage& a) const {
    std::string text = "record image " + a.image.name + " at " + a.image.current;
    if (a.image.rollout)
      text += ", " + std::string(to_string(a.image.rollout->state)) + " " + a.image.rollout->to;
    return text;
  }
  std::string operator()(const scheduler::PullImage& a) const {
    return "pull " + a.reference + " on " + a.host.text;
  }
  std::string operator()(const scheduler::ProfileController&) const { return "profile"; }
  std::string operator()(const scheduler::ReadQueue&) const { return "read queue"; }
  std::string operator()(const scheduler::RebaseCompanion&) const { return "ask the companion anew"; }
  std::string operator()(const scheduler::ReadNodes&) const { return "read nodes"; }
  std::string operator()(const scheduler::PollNode& a) const {
    return "poll " + a.node.text + (a.is_gate_open ? ", gate open" : "");
  }
  std::string operator()(const scheduler::CreateNode& a) const {
    return "create node " + a.node.text + (a.is_recreation ? " again" : "");
  }
  std::string operator()(const scheduler::CloseGate& a) const {
    return "close gate " + a.node.text + " (" + a.reason + ")";
  }
  std::string operator()(const scheduler::OpenGate& a) const { return "open gate " + a.node.text; }
  std::string operator()(const scheduler::Kick&) const { return "kick"; }
  std::string operator()(const scheduler::DeleteNode& a) const { return "delete node " + a.node; }
  std::string operator()(const scheduler::OrderExecutor& a) const {
    return "order " + a.order.spec.id.text + " of " + a.host.text + ", attempt " +
           std::to_string(a.order.ticket.attempt);
  }
  std::string operator()(const scheduler::DestroyExecutor& a) const {
    return "destroy " + a.executor.text + " on " + a.host.text;
  }
  std::string operator()(const scheduler::RenewLeases& a) const {
    return "renew leases on " + a.host.text + text_of(a.renewal);
  }
  std::string operator()(const scheduler::Audit& a) const {
    return "audit " + a.record.id.text + ": " + a.end + (a.is_violation ? ", violation" : "") +
           (a.may_hide_build ? ", may hide a build" : "");
  }
  std::string operator()(const scheduler::Explain& a) const {
    std::string text = "log: " + a.message;
    for (const auto& [key, value] : a.fields) text.append(" ").append(key).append("=").append(value);
    return text;
  }

  std::string operator()(const agentd::RecordEpoch& a) const {
    return "record epoch " + std::to_string(a.epoch);
  }
  std::string operator()(const agentd::RecordIntent& a) const {
    return "record intent " + a.record.spec.id.text + " " + std::string(agentd::to_string(a.record.state)) +
           (a.record.is_busy ? " busy" : "");
  }
  std::string operator()(const agentd::ForgetIntent& a) const { return "forget intent " + a.id.text; }
  std::string operator()(const agentd::RecordDrain&) const { return "record drain"; }
  std::string operator()(const agentd::CallDriver& a) const {
    return std::string("driver ") + agentd::verb_name(a.verb) + " " + a.id.text;
  }
  std::string operator()(const agentd::Reply& a) const {
    const auto* error = std::get_if<Error>(&a.body);
    return "reply " + std::to_string(a.status) + (error != nullptr ? " " + error->message : "");
  }
  std::string operator()(const agentd::Explain& a) const { return "log: " + a.message; }
};

std::string time_of(const World& world) {
  const std::int64_t ms = to_ms(world.now.time_since_epoch());
  const std::string rest = std::to_string(ms % 1000);
  return std::to_string(ms / 1000) + "." + std::string(3 - rest.size(), '0') + rest;
}

std::string scheduler_name(int number) {
  return "scheduler " + std::to_string(number);
}

}  // namespace

void Trace::tell(const World& world, const std::string& who, const std::string& what) {
  listener_(time_of(world) + "  " + who + ": " + what);
}

void Trace::on_scheduler_event(const World& world, int number, const scheduler::Event& event) {
  tell(world, scheduler_name(number), "<- " + std::visit(EventText{}, event));
  next_.on_scheduler_event(world, number, event);
}
void Trace::on_scheduler_action(const World& world, int number, const scheduler::Action& action) {
  tell(world, scheduler_name(number), "-> " + std::visit(ActionText{}, action));
  next_.on_scheduler_action(world, number, action);
}
void Trace::on_agentd_event(const World& world, const HostId& host, const agentd::Event& event) {
  tell(world, host.text, "<- " + std::visit(EventText{}, event));
  next_.on_agentd_event(world, host, event);
}
void Trace::on_agentd_action(const World& world, const HostId& host, const agentd::Action& action) {
  tell(world, host.text, "-> " + std::visit(ActionText{}, action));
  next_.on_agentd_action(world, host, action);
}
void Trace::before_driver_call(const World& world, const HostId& host, const agentd::CallDriver& call) {
  next_.before_driver_call(world, host, call);
}
void Trace::before_delete_node(const World& world, int number, const std::string& node) {
  tell(world, "controller", "deletes node " + node);
  next_.before_delete_node(world, number, node);
}
void Trace::before_create_node(const World& world, int number, const scheduler::CreateNode& order) {
  tell(world, "controller", "creates node " + order.node.text);
  next_.before_create_node(world, number, order);
}
void Trace::on_build_changed(const World& world, const controller_sim::BuildRecord& build) {
  tell(world, "controller",
       "build " + std::to_string(build.id) + " of " + build.job + " on " + build.node +
           (build.ended_at      ? " ended, " + build.result
            : build.resumed > 0 ? std::string(" goes on")
                                : std::string(" started")));
  next_.on_build_changed(world, build);
}
void Trace::on_note(const World& world, const std::string& text) {
  tell(world, "world", text);
  next_.on_note(world, text);
}
void Trace::after_event(const World& world) {
  next_.after_event(world);
}

}  // namespace skep::sim
