// DirectCalls' requests and orders: what jenkins_controller.cpp and answers.cpp make of the same controller.
#include "simulation/controller/direct.h"

#include "scheduler/jenkins/requests.h"
#include "simulation/controller/direct_memory.h"

namespace skep::controller_sim {

using namespace scheduler;

DirectCalls::DirectCalls(ControllerModel& model, ControllerConfig config, std::string farm, std::string user)
    : memory_(std::make_unique<Memory>(model)) {
  memory_->config = std::move(config);
  memory_->throw_away_prefix = throw_away_prefix(farm);
  memory_->throw_away_salt = std::to_string(++memory_->state().direct_callers) + "-";
  memory_->caller.name = std::move(user);
  memory_->caller.by_token = true;
}
DirectCalls::~DirectCalls() = default;

std::string DirectCalls::session() const {
  return memory_->session;
}

State& DirectCalls::Memory::state() const {
  return *model.state_;
}

bool DirectCalls::Memory::may(std::string_view permission) {
  if (rights_of != state().permission_changes) rights.clear();
  rights_of = state().permission_changes;
  for (const auto& [name, is_granted] : rights) {
    if (name == permission) return is_granted;
  }
  rights.emplace_back(permission, state().has(caller, permission));  // names are literals
  return rights.back().second;
}

void DirectCalls::Memory::note_session() {
  if (session == state().session_id) return;
  labels.forget();
  if (!session.empty()) companion.forget_session();
  session = state().session_id;
}

Error DirectCalls::Memory::denied(std::string_view permission, Asked asked, std::string_view what) {
  note_session();
  return direct_error(ErrorCode::permission_denied,
                      asked == Asked::order ? Outcome::failed : Outcome::unknown, what,
                      "the account lacks " + std::string(permission));
}

std::optional<Error> DirectCalls::Memory::arrive(Instant now, Asked asked, std::string_view what) {
  state().advance(now);
  if (state().phase != Phase::up) {
    return direct_error(ErrorCode::unavailable, asked == Asked::order ? Outcome::try_again : Outcome::unknown,
                        what, "the controller is starting or away");
  }
  if (!may("Overall/Read")) return denied("Overall/Read", asked, what);
  return std::nullopt;
}

/// As the address computer/NAME leads to it.
Computer* DirectCalls::Memory::find_computer(const std::string& name) const {
  if (name.empty()) return nullptr;
  const bool is_built_in = name == "(built-in)" || name == "(master)";
  const auto found = state().computers.find(is_built_in ? built_in_name : name);
  return found == state().computers.end() ? nullptr : &found->second;
}

/// True: the account may. What the script does is the caller's.
bool DirectCalls::Memory::run_script(Instant now) {
  const auto refused = arrive(now, Asked::order, "running a script");
  const bool is_denied = refused && refused->code == ErrorCode::permission_denied;
  const bool is_admin = !refused && may("Overall/Administer");
  if (!refused && !is_admin) note_session();
  if (is_denied || (!refused && !is_admin)) can_script = false;
  return is_admin;
}

/// `missing`: gets the permission that a refusal names.
Result<std::string> DirectCalls::Memory::create(const CreateNode& order, Instant now, std::string* missing) {
  const std::string what = "creating node " + order.node.text;
  if (auto refused = arrive(now, Asked::order, what)) {
    if (missing != nullptr && refused->code == ErrorCode::permission_denied) *missing = "Overall/Read";
    return std::move(*refused);
  }
  NewNode wanted;
  wanted.name = order.node.text;
  wanted.labels = order.labels;
  wanted.description = order.description;
  wanted.remote_fs = order.remote_fs.empty() ? "." : order.remote_fs;
  wanted.exclusive = !order.takes_unlabelled;
  wanted.replaces = order.is_recreation;
  const Verdict verdict = state().order_create(caller, wanted);
  switch (verdict.ending) {
    case Ending::done:
      return state().secret_of(order.node.text);
    case Ending::exists:
      return direct_error(ErrorCode::conflict, Outcome::failed, what, "a node of this name exists already");
    case Ending::denied:
      if (missing != nullptr) *missing = verdict.text;
      return denied(verdict.text, Asked::order, what);
    case Ending::bad_name:
      note_session();
      return direct_error(ErrorCode::invalid_input, Outcome::failed, what, verdict.text);
    case Ending::bad_field:
    case Ending::no_node:
      break;
  }
  note_session();
  return direct_error(ErrorCode::generic, Outcome::failed, what, "the controller failed (500)");
}

/// changeOfflineCause, or toggleOffline. `no_node` is what a Computer answers whose node is deleted.
Result<void> DirectCalls::Memory::toggle(const std::string& node, bool only_closes,
                                         const std::string& message, Instant now) {
  const std::string_view what = only_closes ? "closing the gate" : "opening the gate";
  if (auto refused = arrive(now, Asked::order, what)) return std::move(*refused);
  Computer* computer = find_computer(node);
  if (computer == nullptr) {
    note_session();
    return direct_error(ErrorCode::not_found, Outcome::failed, what, "no such node");
  }
  const Verdict verdict = state().order_offline(caller, *computer, !only_closes, message);
  if (verdict.ending == Ending::denied) return denied(verdict.text, Asked::order, what);
  if (verdict.ending == Ending::done) return {};
  note_session();
  if (!only_closes) return direct_error(ErrorCode::not_found, Outcome::failed, what, "no such node");
  return direct_error(ErrorCode::unavailable, Outcome::unknown, what, "the controller answered 500");
}

/// nullptr: it is not there, or may not be read.
Node* DirectCalls::Memory::read_config(const std::string& node, Instant now) {
  if (arrive(now, Asked::read, "reading a configuration")) return nullptr;
  const Computer* computer = find_computer(node);
  const auto found = computer == nullptr ? state().nodes.end() : state().nodes.find(computer->name);
  if (found != state().nodes.end() && may("Agent/Configure")) return &found->second;
  note_session();
  return nullptr;
}

/// What was read, without the element that holds the node offline.
void DirectCalls::Memory::post_config(Node& node) {
  state().apply_config(node, {node.label_text, node.exclusive, node.remote_fs, node.executors, std::nullopt});
}

Result<std::string> DirectCalls::create_node(const CreateNode& order, Instant now) {
  memory_->labels.note_creation(order.node.text);
  return memory_->create(order, now);
}

Result<void> DirectCalls::close_gate(const std::string& node, const std::string& reason, Instant now) {
  auto closed = memory_->toggle(node, true, offline_message(reason), now);
  if (closed || closed.error().outcome != Outcome::unknown) return closed;
  const auto fact = poll_node(node, now);
  if (fact && (!*fact || (*fact)->executor_count == 0)) return {};
  return closed;
}

Result<Opening> DirectCalls::open_gate(const std::string& node, Instant now) {
  const auto fact = poll_node(node, now);
  if (!fact) return fact.error();
  if (!*fact) return direct_error(ErrorCode::not_found, Outcome::failed, "opening the gate", "no such node");
  const bool uses_config = memory_->kick_means == KickMeans::config_xml;
  const bool was_open = !(*fact)->is_temporarily_offline;
  if (!was_open) {
    const std::string& closed_as = (*fact)->offline_reason;
    if (!closed_as.starts_with(our_offline_prefix))
      return direct_error(ErrorCode::conflict, Outcome::failed, "opening the gate",
                          "somebody else closed it");
    if (uses_config) {
      const auto opened = memory_->open_by_config(*this, node, closed_as, now);
      if (!opened) return opened.error();
      if (*opened) return Opening{true, false};
    }
    if (auto opened = memory_->toggle(node, false, "", now); !opened) return opened.error();
  }
  return Opening{uses_config && memory_->kick_by_config(node, now), was_open};
}

Result<bool> DirectCalls::Memory::open_by_config(DirectCalls& calls, const std::string& node,
                                                 const std::string& closed_as, Instant now) {
  if (!config_opens) return false;
  Node* configured = read_config(node, now);
  if (configured == nullptr || !configured->offline) return false;
  post_config(*configured);
  const auto fact = calls.poll_node(node, now);
  if (!fact) return fact.error();
  if (!*fact) return direct_error(ErrorCode::not_found, Outcome::failed, "opening the gate", "no such node");
  if (!(*fact)->is_temporarily_offline) return true;
  if (!(*fact)->offline_reason.starts_with(our_offline_prefix))
    return direct_error(ErrorCode::conflict, Outcome::failed, "opening the gate", "somebody else closed it");
  if (!(*fact)->is_idle || (*fact)->offline_reason != closed_as) return true;
  config_opens = false;  // until the next profile
  return false;
}

bool DirectCalls::Memory::kick_by_config(const std::string& node, Instant now) {
  Node* configured = read_config(node, now);
  if (configured == nullptr || configured->offline) return false;
  post_config(*configured);
  return true;
}

Result<void> DirectCalls::kick(Instant now) {
  if (memory_->kick_means == KickMeans::script && memory_->run_script(now)) {
    memory_->state().schedule_maintenance();
    return {};
  }
  const CreateNode order = memory_->next_throw_away();
  const auto created = create_node(order, now);
  if (!created) return created.error();
  memory_->dispose(*this, order.node.text, now);
  return {};
}

Result<void> DirectCalls::delete_node(const std::string& node, Instant now) {
  constexpr std::string_view what = "deleting the node";
  if (auto refused = memory_->arrive(now, Asked::order, what)) return std::move(*refused);
  const Computer* computer = memory_->find_computer(node);
  if (computer == nullptr) {
    memory_->note_session();
    return {};
  }
  const Verdict verdict = memory_->state().order_delete(memory_->caller, computer->name);
  if (verdict.ending == Ending::done) return {};
  if (verdict.ending == Ending::denied) return memory_->denied(verdict.text, Asked::order, what);
  return direct_error(ErrorCode::generic, Outcome::failed, what, "the controller refuses it (400)");
}

CreateNode DirectCalls::Memory::next_throw_away() {
  return throw_away_order(throw_away_prefix + throw_away_salt + std::to_string(++throw_aways));
}

void DirectCalls::Memory::dispose(DirectCalls& calls, const std::string& throw_away, Instant now) {
  if (calls.delete_node(throw_away, now)) return dispose_left_overs(calls, now);
  left_overs.insert(throw_away);
}

void DirectCalls::Memory::dispose_left_overs(DirectCalls& calls, Instant now) {
  for (const std::string& name : std::exchange(left_overs, {})) {
    if (!calls.delete_node(name, now)) left_overs.insert(name);
  }
}

}  // namespace skep::controller_sim
