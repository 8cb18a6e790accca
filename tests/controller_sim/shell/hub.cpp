#include "tests/controller_sim/shell/hub.h"

#include <chrono>

#include "simulation/controller/text.h"
#include "tests/controller_sim/agent/agent_messages.h"

namespace skep::controller_sim {

Instant steady_now() {
  return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

WallTime wall_now() {
  return {
      std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

std::string request_kind(const HttpRequest& request) {
  std::string kind = request.method;
  std::string previous;
  for (const std::string& part : split(request.target.substr(0, request.target.find('?')), '/')) {
    if (part.empty()) continue;
    const bool is_name =
        previous == "computer" || previous == "job" || previous == "label" || (previous == "item");
    const bool is_verb = part == "api" || part == "doCreateItem";
    kind +=
        (kind.find(' ') == std::string::npos ? " " : "/") + (is_name && !is_verb ? std::string("N") : part);
    previous = part;
  }
  // The first line of a script of Skep's own, as it is encoded in the form.
  constexpr std::string_view before = "skep-companion%201%20";
  const std::size_t verb = request.body.find(before);
  if (verb != std::string::npos) {
    const std::size_t start = verb + before.size();
    kind += " companion " + request.body.substr(start, request.body.find('%', start) - start);
  }
  return kind;
}

Hub::Hub(boost::asio::io_context& io, ControllerModel model)
    : model_(std::move(model)), timer_(io), load_timer_(io) {}

HttpReply Hub::handle(const HttpRequest& request) {
  ++counters_[request_kind(request)];
  return model_.handle(request, steady_now(), wall_now());
}

void Hub::pump() {
  if (pumping_) return;
  pumping_ = true;
  model_.advance(steady_now());
  for (const AgentCommand& command : model_.take_agent_commands()) deliver(command);
  for (auto& [id, reply] : model_.take_finished_replies()) {
    const auto waiting = parked_.find(id);
    if (waiting == parked_.end()) continue;
    const auto sink = waiting->second.lock();
    parked_.erase(waiting);
    if (sink) sink->deliver(std::move(reply));
  }
  if (model_.listening() != listening_) {
    listening_ = model_.listening();
    if (listening_changed_) listening_changed_(listening_);
  }
  pumping_ = false;
  if (const auto deadline = model_.next_deadline()) {
    timer_.expires_at(std::chrono::steady_clock::time_point(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(deadline->time_since_epoch())));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) pump();
    });
  }
}

void Hub::begin_load(LoadSpec spec) {
  load_.emplace(std::move(spec), model_, steady_now());
  go_on_with_load();
}

void Hub::go_on_with_load() {
  constexpr std::chrono::milliseconds step{5};
  load_->step(model_, steady_now());
  pump();
  if (load_->is_over()) return;
  load_timer_.expires_after(step);
  load_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) go_on_with_load();
  });
}

void Hub::deliver(const AgentCommand& command) {
  const auto found = agents_.find(command.connection);
  if (found == agents_.end()) return;
  const auto link = found->second.link.lock();
  if (!link) return;
  AgentMessage message;
  message.run = {command.build,   command.remote_fs,      to_ms(command.duration),
                 command.command, command.survives_agent, false};
  switch (command.kind) {
    case AgentCommandKind::close_channel:
      link->close();
      return;
    case AgentCommandKind::stop_build:
      message.type = AgentMessage::Type::stop;
      break;
    case AgentCommandKind::resume_build:
      message.run.resume = true;
      break;
    case AgentCommandKind::run_build:
      break;
  }
  link->send(to_text(message));
}

void Hub::add_agent(std::uint64_t connection, const std::string& name, std::weak_ptr<AgentLink> link) {
  agents_[connection] = {name, std::move(link)};
}

void Hub::agent_said(const std::string& name, const std::string& text) {
  const auto message = parse_agent_message(text);
  if (!message || message->type != AgentMessage::Type::done) return;
  model_.build_finished_on_agent(name, message->run.build, steady_now(), message->success);
  pump();
}

void Hub::agent_gone(const std::string& name, std::uint64_t connection) {
  if (agents_.erase(connection) == 0) return;
  model_.agent_disconnect(name, steady_now(), connection);
  pump();
}

bool Hub::cut_agent(const std::string& name) {
  for (auto& [connection, agent] : agents_) {
    const auto link = agent.link.lock();
    if (agent.name != name || !link) continue;
    link->cut();
    return true;
  }
  return false;
}

}  // namespace skep::controller_sim
