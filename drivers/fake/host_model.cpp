#include "drivers/fake/host_model.h"

#include <algorithm>

namespace skep::drivers::fake {
namespace {

const char* name_of(Verb verb) {
  switch (verb) {
    case Verb::probe:
      return "probe";
    case Verb::list:
      return "list";
    case Verb::inspect:
      return "inspect";
    case Verb::start:
      return "start";
    case Verb::stop:
      return "stop";
    case Verb::destroy:
      return "destroy";
    case Verb::recover:
      return "recover";
    case Verb::deliver_ticket:
      return "deliver_ticket";
  }
  return "verb";
}

/// nullopt: the call goes well.
std::optional<Error> error_of(const CallScript& script, Verb verb) {
  const std::string message = std::string("scripted: ") + name_of(verb);
  switch (script.fault) {
    case Fault::none:
      return std::nullopt;
    case Fault::fails:
      return Error::failed(script.code, message + " fails");
    case Fault::fails_for_now:
      return Error::try_again(script.code, message + " fails for now");
    case Fault::unknown_and_done:
    case Fault::unknown_not_done:
      return Error::unknown(ErrorCode::timed_out, message + " was not answered in time");
    case Fault::hangs:
      return Error::unknown(ErrorCode::timed_out, message + " never answers");
  }
  return std::nullopt;
}

bool happens(const CallScript& script) {
  return script.fault == Fault::none || script.fault == Fault::unknown_and_done;
}

std::optional<Duration> time_of(const CallScript& script) {
  if (script.fault == Fault::hangs) return std::nullopt;
  return script.takes;
}

std::optional<Error> problem_of(const ExecutorId& id) {
  if (is_valid_name(id.text)) return std::nullopt;
  return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
}

template <typename T>
Answer<T> answer(const CallScript& script, Verb verb, Result<T> result) {
  const auto error = error_of(script, verb);
  return {error ? Result<T>(*error) : std::move(result), time_of(script)};
}

bool is_reached(const std::optional<Instant>& instant, Instant now) {
  return instant && *instant <= now;
}

}  // namespace

CallScript HostModel::take_script(Verb verb) {
  auto& waiting = once_[verb];
  if (waiting.empty()) return always_[verb];
  const CallScript script = waiting.front();
  waiting.pop_front();
  return script;
}

void HostModel::sweep(Instant now) {
  for (auto each = sandboxes_.begin(); each != sandboxes_.end();) {
    each = is_reached(each->second.gone_from, now) ? sandboxes_.erase(each) : std::next(each);
  }
}

HostModel::Sandbox* HostModel::find(const std::string& owner, const ExecutorId& id, Instant now) {
  sweep(now);
  const auto found = sandboxes_.find(id);
  return found == sandboxes_.end() || found->second.owner != owner ? nullptr : &found->second;
}

void HostModel::begin_agent(Sandbox& sandbox, Instant from) {
  sandbox.agent_from = from;
  sandbox.connected_from.reset();
  sandbox.agent_ended_from.reset();
  if (sandbox.life.join) sandbox.connected_from = from + *sandbox.life.join;
  const Instant last = sandbox.connected_from.value_or(from);
  if (sandbox.life.agent_ends) sandbox.agent_ended_from = last + *sandbox.life.agent_ends;
  sandbox.exit_code = sandbox.life.agent_exit_code;
}

Instance HostModel::look(const ExecutorId& id, const Sandbox& sandbox, Instant now) const {
  Instance instance;
  instance.id = id;
  instance.handle = {1, id.text};
  instance.epoch = sandbox.epoch;
  instance.state = InstanceState::creating;
  if (sandbox.is_leaving || !is_reached(sandbox.runs_from, now)) return instance;
  const bool has_exited = is_reached(sandbox.exited_from, now);
  instance.state = has_exited ? InstanceState::exited : InstanceState::running;
  instance.ticket_attempt = sandbox.attempt;
  if (is_reached(sandbox.agent_from, now)) instance.agent = AgentPhase::started;
  if (is_reached(sandbox.connected_from, now)) instance.agent = AgentPhase::connected;
  if (is_reached(sandbox.agent_ended_from, now)) {
    instance.agent = AgentPhase::ended;
    instance.exit_code = sandbox.exit_code;
  }
  if (has_exited) instance.agent = AgentPhase::ended;
  return instance;
}

Answer<ProbeReport> HostModel::probe() {
  const CallScript script = take_script(Verb::probe);
  return answer<ProbeReport>(script, Verb::probe, ProbeReport{true, "a model of a host", options_.images});
}

Answer<std::vector<Instance>> HostModel::list(const std::string& owner, Instant now) {
  const CallScript script = take_script(Verb::list);
  return answer<std::vector<Instance>>(script, Verb::list, peek(owner, now));
}

std::vector<Instance> HostModel::peek(const std::string& owner, Instant now) {
  sweep(now);
  std::vector<Instance> all;
  for (const auto& [id, sandbox] : sandboxes_) {
    if (sandbox.owner == owner) all.push_back(look(id, sandbox, now));
  }
  return all;
}

Answer<Instance> HostModel::look_answer(Verb verb, const std::string& owner, const ExecutorId& id,
                                        Instant now) {
  const CallScript script = take_script(verb);
  if (const auto problem = problem_of(id)) return {*problem, Duration::zero()};
  Instance instance;
  instance.id = id;
  instance.handle = {1, id.text};
  if (const Sandbox* sandbox = find(owner, id, now)) instance = look(id, *sandbox, now);
  return answer<Instance>(script, verb, std::move(instance));
}

Answer<Instance> HostModel::inspect(const std::string& owner, const ExecutorId& id, Instant now) {
  return look_answer(Verb::inspect, owner, id, now);
}

Answer<Instance> HostModel::recover(const std::string& owner, const InstanceHandle& handle, Instant now) {
  if (handle.version != 1 || !is_valid_name(handle.blob)) {
    return {Error::failed(ErrorCode::invalid_input, "a handle that this driver did not make"),
            Duration::zero()};
  }
  return look_answer(Verb::recover, owner, ExecutorId(handle.blob), now);
}

Result<void> HostModel::refuse_start(const std::string& owner, const StartRequest& request, Instant now) {
  const ExecutorId& id = request.spec.id;
  const std::string& image = request.spec.image;
  if (auto problem = problem_of(id)) return *problem;
  if (gone_.count(id) != 0) {
    return Error::failed(ErrorCode::conflict,
                         "executor " + id.text + " was destroyed; ids are never used again");
  }
  const auto present = sandboxes_.find(id);
  if (present != sandboxes_.end() && present->second.owner != owner) {
    return Error::failed(ErrorCode::conflict, "executor " + id.text + " belongs to somebody else");
  }
  const bool is_known =
      image.empty() || options_.images.empty() ||
      std::find(options_.images.begin(), options_.images.end(), image) != options_.images.end();
  if (!is_known) return Error::failed(ErrorCode::not_found, "image \"" + image + "\" is not on this host");
  const bool takes_room = find(owner, id, now) == nullptr;
  if (!options_.capacity || !takes_room) return {};
  Resources free = *options_.capacity;
  for (const auto& [other, sandbox] : sandboxes_) free -= sandbox.resources;
  const auto shortage = request.spec.resources.shortage_in(free);
  if (!shortage) return {};
  return Error::try_again(ErrorCode::out_of_resources,
                          "no room for executor " + id.text + ": " + to_string(*shortage));
}

Answer<Instance> HostModel::start(const std::string& owner, const StartRequest& request, Instant now) {
  const CallScript script = take_script(Verb::start);
  const ExecutorId& id = request.spec.id;
  sweep(now);
  if (auto refused = refuse_start(owner, request, now); !refused) return {refused.error(), Duration::zero()};
  Sandbox* present = find(owner, id, now);
  const bool is_half_made = present != nullptr && look(id, *present, now).state == InstanceState::creating;
  if (happens(script) && (present == nullptr || is_half_made)) {
    Sandbox sandbox;
    sandbox.owner = owner;
    sandbox.epoch = request.epoch;
    sandbox.resources = request.spec.resources;
    sandbox.life = lives_.count(id) != 0 ? lives_.at(id) : options_.life;
    sandbox.attempt = request.ticket.attempt;
    sandbox.runs_from = now + script.takes;
    begin_agent(sandbox, *sandbox.runs_from + sandbox.life.boot);
    if (sandbox.life.dies) sandbox.exited_from = *sandbox.runs_from + *sandbox.life.dies;
    sandboxes_[id] = sandbox;
    ++made_[id];
  }
  // As it will be when the answer comes.
  Instance instance;
  instance.id = id;
  if (const Sandbox* made = find(owner, id, now)) instance = look(id, *made, now + script.takes);
  return answer<Instance>(script, Verb::start, std::move(instance));
}

Answer<void> HostModel::stop(const std::string& owner, const ExecutorId& id, Duration deadline, Instant now) {
  CallScript script = take_script(Verb::stop);
  if (const auto problem = problem_of(id)) return {*problem, Duration::zero()};
  script.takes = std::min(script.takes, deadline);  // then it is ended hard
  Sandbox* sandbox = find(owner, id, now);
  if (happens(script) && sandbox != nullptr && sandbox->runs_from) {
    const Instant end = now + script.takes;
    if (!sandbox->exited_from || *sandbox->exited_from > end) sandbox->exited_from = end;
  }
  return answer<void>(script, Verb::stop, {});
}

Answer<void> HostModel::destroy(const std::string& owner, const ExecutorId& id, Instant now) {
  const CallScript script = take_script(Verb::destroy);
  if (const auto problem = problem_of(id)) return {*problem, Duration::zero()};
  sweep(now);
  const auto present = sandboxes_.find(id);
  if (present != sandboxes_.end() && present->second.owner != owner) {
    return {Error::failed(ErrorCode::conflict,
                          "executor " + id.text + " belongs to somebody else; it is left alone"),
            Duration::zero()};
  }
  if (happens(script)) {
    gone_.insert(id);
    if (present != sandboxes_.end()) {
      present->second.is_leaving = true;
      present->second.gone_from = now + script.takes;
    }
  }
  return answer<void>(script, Verb::destroy, {});
}

Answer<void> HostModel::deliver_ticket(const std::string& owner, const ExecutorId& id, const Ticket& ticket,
                                       Instant now) {
  const CallScript script = take_script(Verb::deliver_ticket);
  if (const auto problem = problem_of(id)) return {*problem, Duration::zero()};
  Sandbox* sandbox = find(owner, id, now);
  if (sandbox == nullptr || look(id, *sandbox, now).state != InstanceState::running) {
    return {
        Error::failed(ErrorCode::not_found, "executor " + id.text + " does not run; it cannot take a ticket"),
        Duration::zero()};
  }
  if (happens(script) && ticket.attempt > sandbox->attempt) {
    sandbox->attempt = ticket.attempt;
    sandbox->life.agent_ends.reset();  // the script told of the first agent
    begin_agent(*sandbox, now + script.takes);
  }
  return answer<void>(script, Verb::deliver_ticket, {});
}

void HostModel::script_next(Verb verb, CallScript script) {
  once_[verb].push_back(script);
}
void HostModel::script_always(Verb verb, CallScript script) {
  always_[verb] = script;
}
void HostModel::script_life(const ExecutorId& id, LifeScript script) {
  lives_[id] = script;
}

void HostModel::kill_sandbox(const ExecutorId& id, Instant now) {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || !found->second.runs_from) return;
  if (!is_reached(found->second.exited_from, now)) found->second.exited_from = now;
}

void HostModel::end_agent(const ExecutorId& id, int exit_code, Instant now) {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || !is_reached(found->second.agent_from, now)) return;
  if (is_reached(found->second.agent_ended_from, now)) return;
  found->second.agent_ended_from = now;
  found->second.exit_code = exit_code;
}

bool HostModel::connect_agent(const ExecutorId& id, Instant now) {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || look(id, found->second, now).agent != AgentPhase::started) return false;
  found->second.connected_from = now;
  return true;
}

std::optional<Instance> HostModel::look_at(const ExecutorId& id, Instant now) const {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || is_reached(found->second.gone_from, now)) return std::nullopt;
  return look(id, found->second, now);
}

Resources HostModel::resources_in_use(Instant now) const {
  Resources sum;
  for (const auto& [id, sandbox] : sandboxes_) {
    if (!is_reached(sandbox.gone_from, now)) sum += sandbox.resources;
  }
  return sum;
}

void HostModel::forget(const ExecutorId& id) {
  lives_.erase(id);
  gone_.erase(id);
  made_.erase(id);
}

void HostModel::remove_behind_our_back(const ExecutorId& id) {
  sandboxes_.erase(id);
}

void HostModel::add_foreign(const ExecutorId& id, Instant now) {
  Sandbox sandbox;
  sandbox.runs_from = now;
  sandboxes_[id] = sandbox;
}

void HostModel::reboot(Instant now) {
  for (auto& [id, sandbox] : sandboxes_) {
    if (sandbox.runs_from && *sandbox.runs_from > now) sandbox.runs_from.reset();
    if (sandbox.runs_from && !is_reached(sandbox.exited_from, now)) sandbox.exited_from = now;
  }
  kill_driver_process(now);
}

void HostModel::kill_driver_process(Instant now) {
  for (auto& [id, sandbox] : sandboxes_) {
    if (sandbox.runs_from && *sandbox.runs_from > now) sandbox.runs_from.reset();
    if (sandbox.gone_from && *sandbox.gone_from > now) sandbox.gone_from.reset();
  }
}

std::vector<Instant> HostModel::changes_of(const Sandbox& sandbox) {
  std::vector<Instant> all;
  for (const auto& each : {sandbox.runs_from, sandbox.agent_from, sandbox.connected_from,
                           sandbox.agent_ended_from, sandbox.exited_from, sandbox.gone_from}) {
    if (each) all.push_back(*each);
  }
  return all;
}

std::optional<Instant> HostModel::next_change(Instant now) const {
  std::optional<Instant> next;
  for (const auto& [id, sandbox] : sandboxes_) {
    for (const Instant each : changes_of(sandbox)) {
      if (each > now && (!next || each < *next)) next = each;
    }
  }
  return next;
}

std::vector<std::pair<std::string, ExecutorId>> HostModel::changed_between(Instant after,
                                                                           Instant until) const {
  std::vector<std::pair<std::string, ExecutorId>> out;
  for (const auto& [id, sandbox] : sandboxes_) {
    const auto changes = changes_of(sandbox);
    const bool has_changed = std::any_of(changes.begin(), changes.end(),
                                         [&](Instant each) { return each > after && each <= until; });
    if (has_changed) out.emplace_back(sandbox.owner, id);
  }
  return out;
}

std::size_t HostModel::count_sandboxes(Instant now) const {
  return static_cast<std::size_t>(std::count_if(sandboxes_.begin(), sandboxes_.end(), [&](const auto& each) {
    return !is_reached(each.second.gone_from, now);
  }));
}

int HostModel::times_made(const ExecutorId& id) const {
  const auto found = made_.find(id);
  return found == made_.end() ? 0 : found->second;
}

}  // namespace skep::drivers::fake
