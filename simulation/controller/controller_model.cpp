// The public face of the model, and the faults that it can be told to have.
#include "simulation/controller/controller_model.h"

#include <algorithm>
#include <array>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr std::array<std::pair<std::string_view, FaultKind>, 16> fault_names{{
    {"status", FaultKind::status},
    {"delay", FaultKind::delay},
    {"truncate_body", FaultKind::truncate_body},
    {"html_with_200", FaultKind::html_with_200},
    {"half_json", FaultKind::half_json},
    {"wrong_types", FaultKind::wrong_types},
    {"duplicate_keys", FaultKind::duplicate_keys},
    {"bad_utf8", FaultKind::bad_utf8},
    {"redirect_to_login", FaultKind::redirect_to_login},
    {"slow_loris", FaultKind::slow_loris},
    {"drop_reply", FaultKind::drop_reply},
    {"refuse_request", FaultKind::refuse_request},
    {"stale_list", FaultKind::stale_list},
    {"companion_absent", FaultKind::companion_absent},
    {"companion_overflow", FaultKind::companion_overflow},
    {"companion_other_version", FaultKind::companion_other_version},
}};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// Numbers after a colon become strings, booleans numbers.
std::string with_wrong_types(const std::string& json) {
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    out += json[i];
    const bool starts_number =
        json[i] == ':' && i + 1 < json.size() && json[i + 1] >= '0' && json[i + 1] <= '9';
    if (!starts_number) continue;
    std::size_t end = i + 1;
    while (end < json.size() && ((json[end] >= '0' && json[end] <= '9') || json[end] == '.')) ++end;
    out += "\"" + json.substr(i + 1, end - i - 1) + "\"";
    i = end - 1;
  }
  replace_all(out, ":true", ":1");
  replace_all(out, ":false", ":0");
  return out;
}

std::string with_duplicate_keys(const std::string& json) {
  const std::size_t brace = json.find('{');
  const std::size_t comma = json.find_first_of(",}", brace == std::string::npos ? 0 : brace);
  if (brace == std::string::npos || comma == std::string::npos || comma == brace + 1) return json;
  const std::string first = json.substr(brace + 1, comma - brace - 1);
  std::string doubled = json;
  doubled.insert(brace + 1, first + ",");
  return doubled;
}

}  // namespace

std::optional<FaultKind> parse_fault_kind(std::string_view name) {
  for (const auto& [text, kind] : fault_names) {
    if (text == name) return kind;
  }
  return std::nullopt;
}

Fault* State::fault_for(const std::string& path) {
  for (Fault& fault : faults) {
    if (path.rfind(fault.path_prefix, 0) == 0 && (!fault.remaining || *fault.remaining > 0)) return &fault;
  }
  return nullptr;
}

HttpReply State::apply_fault(const Fault& fault, const HttpRequest& request) {
  HttpReply reply;
  switch (fault.kind) {
    case FaultKind::refuse_request:
      reply.delivery.drop_connection = true;
      return reply;
    case FaultKind::status:
      return page(static_cast<int>(fault.value), "Oops", "A problem occurred", "", 8000);
    case FaultKind::html_with_200:
      return page(200, "Maintenance", "We are back soon", "", 2000);
    case FaultKind::redirect_to_login:
      return redirect(options.root_url + "login?from=" + percent_encode(request.target));
    case FaultKind::stale_list: {
      const auto kept = stale.find(request.target);
      if (kept != stale.end()) return kept->second;
      reply = dispatch(request);
      if (request.method == "GET" && reply.status == 200) stale.emplace(request.target, reply);
      return reply;
    }
    default:
      befall_companion(fault.kind, fault.value);
      reply = dispatch(request);
  }
  if (reply.parked) {
    for (ParkedReply& waiter : parked) {
      if (waiter.id == *reply.parked) waiter.fault = fault;
    }
  } else {
    alter(reply, fault);
  }
  return reply;
}

/// What becomes of a reply that was made.
void State::alter(HttpReply& reply, const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::delay:
      reply.delivery.delay = milliseconds(fault.value);
      break;
    case FaultKind::truncate_body:
      reply.delivery.cut_body_at =
          reply.body.size() * static_cast<std::size_t>(std::clamp<std::int64_t>(fault.value, 0, 100)) / 100;
      break;
    case FaultKind::half_json:
      reply.body.resize(reply.body.size() / 2);
      break;
    case FaultKind::wrong_types:
      reply.body = with_wrong_types(reply.body);
      break;
    case FaultKind::duplicate_keys:
      reply.body = with_duplicate_keys(reply.body);
      break;
    case FaultKind::bad_utf8: {
      const std::size_t quote = reply.body.rfind("\":\"");
      reply.body.insert(quote == std::string::npos ? reply.body.size() / 2 : quote + 3, "\xC3\x28\xFF");
      break;
    }
    case FaultKind::slow_loris:
      reply.delivery.slow_loris = true;
      break;
    case FaultKind::drop_reply:
      reply.delivery.drop_connection = true;
      break;
    default:
      break;
  }
}

HttpReply State::handle(const HttpRequest& request) {
  if (phase == Phase::down) {
    HttpReply refused;
    refused.delivery.drop_connection = true;
    return refused;
  }
  if (phase == Phase::starting) return starting_page();
  std::string path = request.target.substr(0, request.target.find('?'));
  if (path.rfind(options.path_prefix, 0) == 0) path.erase(0, options.path_prefix.size());
  if (!path.empty() && path.front() == '/') path.erase(0, 1);
  if (Fault* fault = fault_for(path)) {
    if (fault->remaining) --*fault->remaining;
    return apply_fault(*fault, request);
  }
  return dispatch(request);
}

ControllerModel::ControllerModel(Options options, Instant now, WallTime wall)
    : state_(std::make_unique<State>(std::move(options), now, wall)) {}
ControllerModel::~ControllerModel() = default;
ControllerModel::ControllerModel(ControllerModel&&) noexcept = default;
ControllerModel& ControllerModel::operator=(ControllerModel&&) noexcept = default;

HttpReply ControllerModel::handle(const HttpRequest& request, Instant now, WallTime wall) {
  state_->advance(now);
  state_->wall_base = now;
  state_->wall_base_ms = wall.ms_since_epoch;
  return state_->handle(request);
}

void ControllerModel::advance(Instant now) {
  state_->advance(now);
}

std::optional<Instant> ControllerModel::next_deadline() const {
  if (state_->events.empty()) return std::nullopt;
  return state_->events.begin()->first;
}

std::vector<std::pair<std::uint64_t, HttpReply>> ControllerModel::take_finished_replies() {
  return std::exchange(state_->finished_replies, {});
}

ConnectResult ControllerModel::agent_connect(const std::string& name, const std::string& secret,
                                             Instant now) {
  state_->advance(now);
  return state_->connect(name, secret);
}

void ControllerModel::agent_disconnect(const std::string& name, Instant now, std::uint64_t connection) {
  state_->advance(now);
  const auto found = state_->computers.find(name);
  if (found == state_->computers.end() || found->second.channel == Channel::none) return;
  if (connection != 0 && found->second.connection != connection) return;
  state_->disconnect(found->second, "Connection was broken", "hudson.slaves.OfflineCause$ChannelTermination");
  state_->at(now + milliseconds(5), {EventKind::remove_node, 1, name});
}

std::vector<AgentCommand> ControllerModel::take_agent_commands() {
  return std::exchange(state_->commands, {});
}

void ControllerModel::build_finished_on_agent(const std::string& name, std::uint64_t build, Instant now,
                                              bool success) {
  state_->advance(now);
  const auto found = state_->occupations.find(build);
  if (found == state_->occupations.end() || found->second.computer != name || !found->second.running) return;
  const auto computer = state_->computers.find(name);
  if (computer == state_->computers.end() || computer->second.channel != Channel::online ||
      found->second.ending)
    return;
  state_->finish(build, success ? "SUCCESS" : "FAILURE");
}

void ControllerModel::create_job(const JobSpec& spec) {
  const auto found = state_->jobs.find(spec.path);
  if (found == state_->jobs.end()) {
    state_->jobs.emplace(spec.path, Job{spec});
  } else {
    found->second.spec = spec;
    state_->must_see_all = true;
    for (auto& [id, item] : state_->items) {
      if (item.job == spec.path) state_->describe(item);
    }
  }
}

void ControllerModel::delete_job(const std::string& path, Instant now) {
  state_->advance(now);
  std::vector<std::int64_t> queued;
  for (const auto& [id, item] : state_->items) {
    if (item.job == path) queued.push_back(id);
  }
  for (const std::int64_t id : queued) state_->cancel(id);
  const auto found = state_->jobs.find(path);
  if (found == state_->jobs.end()) return;
  const bool building = !found->second.building.empty();
  const bool assigned = std::any_of(state_->occupations.begin(), state_->occupations.end(),
                                    [&](const auto& entry) { return entry.second.job == path; });
  if (building || assigned) return;  // Jenkins refuses too while it runs
  for (const std::int64_t id : queued) {
    state_->forget_item(id);
    std::erase(state_->left, id);
  }
  state_->jobs.erase(found);
}

std::optional<std::int64_t> ControllerModel::schedule(const std::string& path, Instant now,
                                                      const Parameters& parameters,
                                                      std::optional<Duration> quiet_period) {
  state_->advance(now);
  return state_->schedule(path, parameters, quiet_period, "admin");
}

void ControllerModel::block_job(const std::string& path, bool blocked, Instant now) {
  state_->advance(now);
  const auto found = state_->jobs.find(path);
  if (found == state_->jobs.end()) return;
  found->second.blocked = blocked;
  state_->must_see_all = true;
  state_->schedule_maintenance();
}

void ControllerModel::stop_build(const std::string& path, int number, Instant now) {
  state_->advance(now);
  state_->stop_run(path, number);
}

void ControllerModel::create_permanent_node(const std::string& name, const std::string& labels,
                                            bool exclusive, int executors, Instant now) {
  state_->advance(now);
  Node node;
  node.name = name;
  node.kind = NodeKind::permanent;
  node.label_text = labels;
  node.exclusive = exclusive;
  node.executors = executors;
  node.remote_fs = "/nowhere";
  state_->add_node(std::move(node));
}

void ControllerModel::set_quieting_down(bool on, Instant now) {
  state_->advance(now);
  state_->quieting_down = on;
  if (!on) state_->schedule_maintenance();
}

void ControllerModel::delete_node_by_hand(const std::string& name, Instant now) {
  state_->advance(now);
  if (name != built_in_name) state_->remove_node(name);
}

void ControllerModel::set_offline_by_hand(const std::string& name, const std::optional<std::string>& reason,
                                          Instant now) {
  state_->advance(now);
  const auto found = state_->computers.find(name);
  if (found == state_->computers.end() || !state_->nodes.contains(name)) return;
  std::optional<OfflineFlag> flag;
  if (reason) flag = OfflineFlag{*reason, "admin", state_->wall_ms(now)};
  state_->set_offline(found->second, flag);
}

void ControllerModel::cancel_by_hand(std::uint64_t choice, Instant now) {
  state_->advance(now);
  const std::vector<std::int64_t> ids = state_->visible_items();
  if (!ids.empty()) static_cast<void>(state_->cancel(ids[choice % ids.size()]));
}

bool ControllerModel::cancel_item(std::int64_t id, Instant now) {
  state_->advance(now);
  return state_->cancel(id);
}

void ControllerModel::set_permissions(const std::string& user,
                                      const std::set<std::string, std::less<>>& permissions) {
  ++state_->permission_changes;
  for (User& each : state_->options.users) {
    if (each.name == user) each.permissions = permissions;
  }
}

void ControllerModel::restart(bool keep_queue, Instant now, Duration down, Duration starting) {
  state_->advance(now);
  state_->begin_restart(keep_queue, down, starting);
}

bool ControllerModel::listening() const {
  return state_->phase != Phase::down;
}

void ControllerModel::misbehave(const Fault& fault) {
  state_->faults.push_back(fault);
}

void ControllerModel::befall_companion(FaultKind kind, std::int64_t value, Instant now) {
  state_->advance(now);
  state_->befall_companion(kind, value);
}

void ControllerModel::clear_faults() {
  state_->faults.clear();
  state_->stale.clear();
}

const std::deque<BuildRecord>& ControllerModel::builds() const {
  return state_->records;
}

std::size_t ControllerModel::first_build() const {
  return state_->first_record;
}

const BuildRecord* ControllerModel::build(std::size_t index) const {
  const std::size_t first = state_->first_record;
  return index < first || index - first >= state_->records.size() ? nullptr : &state_->records[index - first];
}

std::vector<std::size_t> ControllerModel::take_changed_builds() {
  std::vector<std::size_t> changed(state_->changed_records.begin(), state_->changed_records.end());
  state_->changed_records.clear();
  return changed;
}

std::optional<std::uint64_t> ControllerModel::running_build_on(const std::string& node) const {
  const auto found = state_->computers.find(node);
  if (found == state_->computers.end()) return std::nullopt;
  for (const auto& slot : found->second.slots) {
    if (slot) return slot;
  }
  return std::nullopt;
}

void ControllerModel::forget_builds(std::size_t below) {
  State& state = *state_;
  below = std::min(below, state.first_record + state.records.size());
  for (const auto& [id, occupation] : state.occupations) {
    if (occupation.record) below = std::min(below, *occupation.record);
  }
  for (const std::size_t index : state.to_resume) below = std::min(below, index);
  for (const auto& [id, item] : state.items) {
    if (item.resumes && item.state != ItemState::left) below = std::min(below, *item.resumes);
  }
  for (; state.first_record < below; ++state.first_record) state.records.pop_front();
  state.changed_records.erase(state.changed_records.begin(), state.changed_records.lower_bound(below));
}

bool ControllerModel::forget_job(const std::string& path) {
  const auto found = state_->jobs.find(path);
  if (found == state_->jobs.end()) return true;
  const Job& job = found->second;
  const bool is_running =
      !job.building.empty() ||
      std::any_of(job.runs.begin(), job.runs.end(), [](const Run& run) { return run.occupations != 0; });
  if (is_running || job.open_items != 0) return false;
  state_->jobs.erase(found);
  return true;
}

std::uint64_t ControllerModel::companion_events() const {
  return state_->companion ? state_->companion->next - 1 : 0;
}
std::size_t ControllerModel::queue_length() const {
  return state_->visible_items().size();
}

std::vector<std::string> ControllerModel::node_names() const {
  std::vector<std::string> names;
  for (const auto& [name, node] : state_->nodes) {
    if (node.kind != NodeKind::built_in) names.push_back(name);
  }
  return names;
}

bool ControllerModel::agent_online(const std::string& name) const {
  const auto found = state_->computers.find(name);
  return found != state_->computers.end() && found->second.channel == Channel::online;
}

bool ControllerModel::takes_builds(const std::string& name) const {
  const auto found = state_->computers.find(name);
  return found != state_->computers.end() && !state_->offline(found->second) && found->second.accepting;
}

std::string ControllerModel::secret_of(const std::string& name) const {
  return state_->secret_of(name);
}
std::string ControllerModel::session() const {
  return state_->session_id;
}

}  // namespace skep::controller_sim
