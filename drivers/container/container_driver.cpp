#include "drivers/container/container_driver.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>

#include "common/log/log.h"
#include "drivers/container/change_stream.h"
#include "drivers/container/engine.h"
#include "drivers/container/first_process.h"
#include "drivers/container/host_images.h"
#include "drivers/shared/control_texts.h"
#include "drivers/shared/gone_marks.h"
#include "linux/linux_files.h"
#include "linux/linux_process.h"
#include "linux/linux_watch.h"

namespace skep::drivers {
namespace {

namespace fs = std::filesystem;
using container::ContainerFacts;
using container::ContainerPlan;
using container::ContainerState;
using container::Engine;
using container::ImageFacts;

constexpr const char* cookie_name = "SKEP_EXECUTOR";
constexpr Duration helper_deadline = seconds(3);
constexpr std::size_t max_number_bytes = 100;
constexpr int most_removals = 5;  // looks and removals until nothing of an executor is seen

bool is_user(const std::string& text) {
  const std::size_t colon = text.find(':');
  const auto is_number = [](const std::string& part) {
    return !part.empty() && part.size() <= 9 && part.find_first_not_of("0123456789") == std::string::npos;
  };
  return colon != std::string::npos && is_number(text.substr(0, colon)) && is_number(text.substr(colon + 1));
}

/// Podman lowers its own limit to 32,768 and then asks for 1,048,576 for containers, unless told a number:
/// without the right to raise limits, none would start.
std::int64_t most_user_processes() {
  constexpr rlim_t most = 32'768;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NPROC, &limit) != 0) return 0;
  return static_cast<std::int64_t>(std::min(limit.rlim_max, most));
}

std::string name_of(const ExecutorId& id) {
  return "skep-" + id.text;
}

/// What was done is gone again, and was seen gone: a refusal stays one, what broke off may be tried again.
Error after_cleaning_up(Error error) {
  if (error.outcome == Outcome::unknown && error.code != ErrorCode::timed_out)
    error.outcome = Outcome::try_again;
  return error;
}

class ContainerDriver final : public Driver, public TicketDelivery, public ChangeSource {
 public:
  explicit ContainerDriver(ContainerDriverOptions options)
      : options_(std::move(options)),
        engine_(options_.socket, options_.call_deadline),
        own_(fs::path(options_.root) / options_.owner_tag),
        gone_((own_ / "gone").string()),
        watch_([this](const std::string& id) { notify(ExecutorId(id)); }) {
    if (options_.user.empty())
      options_.user = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
    if (!is_user(options_.user)) problem_ = "\"" + options_.user + "\" is no user of the form uid:gid";
    if (options_.networks.empty()) problem_ = "no network mode is allowed on this host";
    if (const std::string why = container::HostImages::problem_of(options_); !why.empty()) problem_ = why;
    if (options_.root.empty() || options_.root.front() != '/')
      problem_ = "\"" + options_.root + "\" is no absolute path of a folder";
    if (!is_valid_owner_tag(options_.owner_tag))
      problem_ = "\"" + options_.owner_tag + "\" is no valid owner tag";
    images_ = std::make_unique<container::HostImages>(options_, engine_, (own_ / "images").string());
  }

  std::string name() const override { return "container"; }

  Capabilities capabilities() const override {
    Capabilities capabilities;
    capabilities.can_redeliver_ticket = true;
    capabilities.reports_changes = true;
    capabilities.limits_cpu = capabilities.limits_memory = capabilities.limits_disk = true;
    return capabilities;
  }

  Result<ProbeReport> probe() override {
    ProbeReport report;
    report.detail = problem_;
    if (!problem_.empty()) return report;
    if (const auto made = make_folders(); !made) {
      report.detail = made.error().message;
      return report;
    }
    const auto version = engine_.version();
    const auto api = version ? container::choose_api(*version) : version.error();
    if (!api) {
      report.detail = api.error().message;
      return report;
    }
    report.is_usable = true;
    report.detail = version->name + " " + version->version + " at " + options_.socket;
    images_->probe(report);
    return report;
  }

  Result<std::vector<Instance>> list() override {
    std::set<std::string> names;
    const auto containers = engine_.list({{container::owner_label, options_.owner_tag}});
    if (!containers && !has_half_removed()) return as_unknown("cannot list executors", containers.error());
    for (const std::string& each : containers ? *containers : std::vector<std::string>()) {
      const auto facts = engine_.find(each);
      if (!facts) return as_unknown("cannot list executors", facts.error());
      const std::string id = *facts ? (*facts)->label(container::executor_label) : std::string();
      if (is_valid_name(id)) names.insert(id);
    }
    std::error_code failure;
    for (auto entry = fs::directory_iterator(own_ / "run", failure);
         !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
      const std::string name = entry->path().filename().string();
      if (is_valid_name(name)) names.insert(name);
    }
    if (failure && failure != std::errc::no_such_file_or_directory) {
      return Error::unknown(ErrorCode::generic,
                            "cannot list executors in " + (own_ / "run").string() + ": " + failure.message());
    }
    std::vector<Instance> out;
    for (const std::string& name : names) {
      auto instance = inspect(ExecutorId(name));
      if (!instance) return instance.error();
      if (instance->state != InstanceState::absent) out.push_back(std::move(*instance));
    }
    return out;
  }

  Result<Instance> inspect(const ExecutorId& id) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto found = find(id);
    if (!found) return unseen(id, found.error());
    Instance instance;
    instance.id = id;
    instance.handle = {1, id.text};
    if (*found) return look_inside(std::move(instance), **found);
    const auto is_half_made = posix_host::is_there(folder(id).string());
    if (!is_half_made) return unseen(id, is_half_made.error());
    if (*is_half_made) instance.state = InstanceState::creating;
    return instance;
  }

  Result<Instance> start(const StartRequest& request) override {
    const ExecutorId& id = request.spec.id;
    if (auto checked = check(request); !checked) return checked.error();
    if (auto refused = gone_.refuse(id); !refused) return refused.error();
    auto present = inspect(id);
    if (!present) return present;
    if (present->state == InstanceState::running || present->state == InstanceState::exited) return present;
    if (present->state == InstanceState::creating) {
      if (auto cleared = remove_all_of(id); !cleared) return cleared.error();
    }
    const auto made = make(request);
    if (made) return inspect(id);
    // What failed leaves nothing behind; a failure to clean up is what the caller must know.
    if (auto cleared = remove_all_of(id); !cleared) {
      return Error::unknown(cleared.error().code,
                            made.error().message + "; and then " + cleared.error().message);
    }
    return after_cleaning_up(made.error());
  }

  Result<void> stop(const ExecutorId& id, Duration deadline) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto found = find(id);
    if (!found) return unseen(id, found.error());
    if (!*found || (*found)->state != ContainerState::running) return {};
    const std::string& engine_id = (*found)->engine_id;
    const auto first =
        container::first_process((*found)->pid, std::string(cookie_name) + "=" + cookie_value(id));
    // What counts is whether it ended: a signal may be refused because it just did.
    auto asked = engine_.signal(engine_id, "SIGTERM");
    const auto has_ended = container::wait_for_end(engine_, engine_id, first, deadline);
    if (has_ended && *has_ended) return {};
    auto killed = engine_.signal(engine_id, "SIGKILL");
    const auto is_dead = container::wait_for_end(engine_, engine_id, first, options_.kill_deadline);
    if (!is_dead) return is_dead.error();
    if (*is_dead) return {};
    if (!killed) return killed;
    if (!asked) return asked;
    return Error::unknown(ErrorCode::timed_out, "executor " + id.text + " runs on although it was killed",
                          "see the container engine's log");
  }

  Result<void> destroy(const ExecutorId& id) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    // Podman that crashed in a removal cannot show the container any more, but can remove it.
    if (!number_of(id)) {
      if (auto foreign = refuse_foreign(id); !foreign) return foreign;
    }
    auto marked = mark_gone(id);
    // A full disk must not stop what makes room on it: the mark is tried again after the removal.
    if (!marked && marked.error().code != ErrorCode::out_of_resources) return marked;
    if (auto removed = remove_all_of(id); !removed) return removed;
    return marked ? marked : mark_gone(id);
  }

  Result<Instance> recover(const InstanceHandle& handle) override {
    if (handle.version != 1 || !is_valid_name(handle.blob)) {
      return Error::failed(ErrorCode::invalid_input, "a handle that this driver did not make");
    }
    const ExecutorId id(handle.blob);
    auto instance = inspect(id);
    if (!instance || instance->state != InstanceState::running) return instance;
    watch_.watch_folder(id.text, control(id).string());
    return inspect(id);  // what changed before we watched
  }

  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    const auto instance = inspect(id);
    if (!instance) return instance.error();
    if (instance->state != InstanceState::running) {
      return Error::failed(ErrorCode::not_found,
                           "executor " + id.text + " does not run; it cannot take a ticket");
    }
    return write_ticket(id, ticket);
  }

  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const bool is_wanted = listener != nullptr;
    {
      const std::lock_guard<std::mutex> guard(listener_lock_);
      listener_ = std::move(listener);
    }
    if (is_wanted && problem_.empty() && !stream_) {
      stream_ = std::make_unique<container::ChangeStream>(
          engine_, options_.owner_tag, [this](const ExecutorId& id) { notify(id); },
          [this] {
            images_->look_again();
            notify_all();
          });
    }
  }

 private:
  fs::path folder(const ExecutorId& id) const { return own_ / "run" / id.text; }
  fs::path control(const ExecutorId& id) const { return folder(id) / "control"; }
  std::map<std::string, std::string> labels_of(const ExecutorId& id) const {
    return {{container::owner_label, options_.owner_tag}, {container::executor_label, id.text}};
  }
  static Error as_unknown(const std::string& what, const Error& error) {
    return Error::unknown(error.code, what + ": " + error.message, error.hint);
  }

  Result<void> check_id(const ExecutorId& id) const {
    if (!problem_.empty()) return Error::failed(ErrorCode::invalid_input, problem_);
    if (is_valid_name(id.text)) return {};
    return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
  }

  Result<void> check(const StartRequest& request) const {
    if (auto checked = check_id(request.spec.id); !checked) return checked;
    for (const auto& [name, value] : request.spec.environment) {
      const bool is_valid = !name.empty() && name.find('=') == std::string::npos && name != cookie_name &&
                            name.find('\0') == std::string::npos && value.find('\0') == std::string::npos;
      if (!is_valid)
        return Error::failed(ErrorCode::invalid_input,
                             "\"" + name + "\" cannot be set in an executor's environment");
    }
    if (const auto network = network_of(request.spec); !network) return network.error();
    return images_->check(request);
  }

  Result<std::string> network_of(const ExecutorSpec& spec) const {
    const auto& allowed = options_.networks;
    if (spec.network.empty()) return allowed.front();
    if (std::find(allowed.begin(), allowed.end(), spec.network) != allowed.end()) return spec.network;
    return Error::failed(
        ErrorCode::invalid_input,
        "network \"" + spec.network + "\" of executor " + spec.id.text + " is not allowed on this host",
        "add it to drivers.container.networks, or change the template");
  }

  Result<void> make_folders() const {
    std::error_code failure;
    fs::create_directories(fs::path(options_.root).parent_path(), failure);
    for (const fs::path& each : {fs::path(options_.root), own_, own_ / "run", own_ / "gone"}) {
      if (auto made = make_private_folder(each.string()); !made) return made;
    }
    return {};
  }

  /// Podman that crashed in a removal lists nothing until that is done: then our folders tell what there is.
  bool has_half_removed() {
    std::error_code failure;
    for (auto entry = fs::directory_iterator(own_ / "run", failure);
         !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
      const std::string name = entry->path().filename().string();
      const auto number = is_valid_name(name) ? number_of(ExecutorId(name)) : std::nullopt;
      if (!number) continue;
      const auto facts = engine_.find(*number);
      if (facts && *facts && is_half_removed(**facts)) return true;
    }
    return false;
  }

  bool is_ours(const ContainerFacts& facts, const ExecutorId& id) const {
    return facts.label(container::owner_label) == options_.owner_tag &&
           facts.label(container::executor_label) == id.text;
  }

  static bool is_half_removed(const ContainerFacts& facts) {
    return facts.state == ContainerState::leaving && facts.labels.empty();
  }

  /// Ours of that id; of several (somebody copied its labels) the first.
  Result<std::optional<ContainerFacts>> find(const ExecutorId& id) {
    if (const auto number = number_of(id)) {
      auto facts = engine_.find(*number);
      if (!facts || (*facts && (is_half_removed(**facts) || is_ours(**facts, id)))) return facts;
    }
    const auto all = engine_.list(labels_of(id));
    if (!all) return all.error();
    for (const std::string& each : *all) {
      auto facts = engine_.find(each);
      if (!facts || *facts) return facts;
    }
    return std::optional<ContainerFacts>();
  }

  Result<void> refuse_foreign(const ExecutorId& id) {
    const auto named = engine_.find(name_of(id));
    if (!named) return unseen(id, named.error());
    if (!*named) return {};
    if (is_ours(**named, id)) return {};
    return Error::failed(ErrorCode::conflict, "container " + name_of(id) + " is not ours; it is left alone");
  }

  Instance look_inside(Instance instance, const ContainerFacts& facts) const {
    const std::string epoch = facts.label(container::epoch_label);
    if (!epoch.empty() && epoch.size() < 20 && epoch.find_first_not_of("0123456789") == std::string::npos)
      instance.epoch = std::stoull(epoch);
    const bool is_whole = facts.state == ContainerState::running || facts.state == ContainerState::ended;
    instance.state = !is_whole                                ? InstanceState::creating
                     : facts.state == ContainerState::running ? InstanceState::running
                                                              : InstanceState::exited;
    if (!is_whole) return instance;
    const std::string status = (control(instance.id) / "status").string();
    if (const auto text = posix_host::read_plain_file(status, max_status_bytes))
      apply_status(*text, instance);
    if (facts.state == ContainerState::running || instance.agent == AgentPhase::ended) return instance;
    instance.agent = AgentPhase::ended;
    instance.message =
        "skep-join ended with exit code " + std::to_string(facts.exit_code) + " and without a word";
    if (facts.was_out_of_memory) instance.message += "; the executor ran out of memory";
    return instance;
  }

  Result<void> write_ticket(const ExecutorId& id, const Ticket& ticket) const {
    const fs::path place = control(id) / "ticket";
    // Aside first: skep-join, which may be another user, never sees one that it cannot read.
    const fs::path aside = folder(id) / "ticket";
    if (auto written = posix_host::write_file_atomically(aside.string(), encode(ticket), 0600); !written)
      return written;
    if (auto given = give_to_user(aside); !given) return given;
    std::error_code failure;
    fs::rename(aside, place, failure);
    if (!failure) return {};
    return Error::failed(ErrorCode::generic, "cannot write " + place.string() + ": " + failure.message());
  }

  Result<void> give_to_user(const fs::path& path) const {
    const std::size_t colon = options_.user.find(':');
    const auto uid = static_cast<uid_t>(std::stoul(options_.user.substr(0, colon)));
    const auto gid = static_cast<gid_t>(std::stoul(options_.user.substr(colon + 1)));
    if (uid == ::geteuid() && gid == ::getegid()) return {};
    if (::lchown(path.c_str(), uid, gid) == 0) return {};
    return Error::failed(ErrorCode::permission_denied,
                         "cannot give " + path.string() + " to user " + options_.user,
                         "run skep-agentd as root, or set drivers.container.user to its own user");
  }

  Result<ContainerPlan> plan_of(const StartRequest& request, const ImageFacts& image) const {
    const ExecutorSpec& spec = request.spec;
    const auto network = network_of(spec);
    if (!network) return network.error();
    ContainerPlan plan;
    plan.owner = options_.owner_tag;
    plan.id = spec.id;
    plan.epoch = request.epoch;
    plan.template_name = spec.template_name.text;
    plan.image_id = image.id;
    plan.volumes = image.volumes;
    const std::string inside = container::control_place;
    plan.argv = {options_.join_program,
                 "--ticket",
                 inside + "/ticket",
                 "--status",
                 inside + "/status",
                 "--work-dir",
                 container::work_place,
                 "--linger",
                 std::to_string(std::chrono::ceil<seconds>(options_.linger).count()),
                 "--stop-grace",
                 std::to_string(std::chrono::ceil<seconds>(spec.stop_grace).count())};
    if (!spec.agent_command.empty()) {
      plan.argv.emplace_back("--");
      plan.argv.insert(plan.argv.end(), spec.agent_command.begin(), spec.agent_command.end());
    }
    plan.environment = {{"HOME", container::work_place}, {"TMPDIR", "/tmp"}};
    for (const auto& [name, value] : spec.environment) plan.environment[name] = value;
    plan.environment[cookie_name] = cookie_value(spec.id);
    plan.user = options_.user;
    plan.network = *network;
    plan.control_folder = control(spec.id).string();
    plan.cpu_millis = spec.resources.cpu_millis;
    plan.memory_bytes = spec.resources.memory_bytes;
    plan.disk_bytes = spec.resources.disk_bytes > 0 ? spec.resources.disk_bytes : options_.default_disk_bytes;
    plan.max_processes = options_.max_processes;
    plan.max_open_files = options_.max_open_files;
    plan.max_user_processes = most_user_processes();
    return plan;
  }

  Result<void> make(const StartRequest& request) {
    const ExecutorId& id = request.spec.id;
    const auto image = images_->image_for(request);
    if (!image) return image.error();
    if (auto made = make_folders(); !made) return made;
    for (const fs::path& each : {folder(id), control(id)}) {
      if (auto made = make_private_folder(each.string()); !made) return made;
    }
    if (auto given = give_to_user(control(id)); !given) return given;
    if (auto written = write_ticket(id, request.ticket); !written) return written;
    const auto plan = plan_of(request, *image);
    if (!plan) return plan.error();
    const auto made = engine_.make(name_of(id), container::create_body(*plan));
    if (!made) return made.error();
    const auto facts = engine_.find(*made);
    if (!facts) return facts.error();
    const bool is_as_asked = *facts && (*facts)->image_id == image->id && is_ours(**facts, id);
    if (!is_as_asked) {
      return Error::failed(ErrorCode::malformed_reply, "the container that was made for executor " + id.text +
                                                           " is not what was asked for; it is not started");
    }
    // An engine that crashes in a removal forgets it, and its number is how what is left is found.
    if (auto written = posix_host::write_file_atomically(number_file(id), *made, 0600); !written)
      return written;
    watch_.watch_folder(id.text, control(id).string());
    return engine_.start(*made);
  }

  /// Until it is seen that nothing is left, and first the containers: what is in their folder is theirs.
  Result<void> remove_all_of(const ExecutorId& id) {
    watch_.forget(id.text);
    std::set<std::string> containers{name_of(id)};
    if (const auto number = number_of(id)) {
      if (auto removed = engine_.remove(*number); !removed) return removed;
      containers.insert(*number);
    }
    for (int round = 0;; ++round) {
      const auto all = engine_.list(labels_of(id));
      if (!all) return unseen(id, all.error());
      if (all->empty()) break;
      if (round == most_removals) {
        return Error::try_again(ErrorCode::conflict,
                                "the container engine still shows a container of executor " + id.text);
      }
      for (const std::string& each : *all) {
        if (auto removed = engine_.remove(each); !removed) return removed;
        containers.insert(each);
      }
    }
    end_helpers_of(containers);
    // An engine that crashed may have forgotten a container whose processes go on.
    posix_host::ProcessMarks marks;
    marks.cookie = std::string(cookie_name) + "=" + cookie_value(id);
    if (auto killed = posix_host::kill_all(marks, options_.kill_deadline); !killed) return killed;
    if (auto removed = posix_host::remove_tree(folder(id).string()); !removed) return removed;
    return images_->release(id);
  }

  /// What an engine has beside each container ends with that; but not when the engine crashed meanwhile.
  void end_helpers_of(const std::set<std::string>& containers) const {
    for (const std::string& each : containers) {
      for (const auto& helper : posix_host::find_by_argument({"conmon", "containerd-shim"}, each)) {
        if (posix_host::wait_for_end(helper, helper_deadline)) continue;
        log::write(log::Level::warning, "a container's helper outlives it; it is ended",
                   {{"container", each}, {"pid", std::to_string(helper.pid)}});
        posix_host::send_signal(helper, SIGKILL);
      }
    }
  }

  /// Of its container, as the engine gave it; nothing when it was never made whole.
  std::optional<std::string> number_of(const ExecutorId& id) const {
    auto text = posix_host::read_plain_file(number_file(id), max_number_bytes);
    return text && !text->empty() ? std::optional(std::move(*text)) : std::nullopt;
  }

  std::string number_file(const ExecutorId& id) const { return (folder(id) / "container").string(); }

  std::string cookie_value(const ExecutorId& id) const {
    return options_.owner_tag + "/" + id.text + "@" + own_.string();
  }

  Result<void> mark_gone(const ExecutorId& id) {
    if (auto made = make_folders(); !made) return made;
    return gone_.mark(id);
  }

  /// After events may have been missed.
  void notify_all() {
    const auto all = list();
    if (!all) return;  // agentd looks at each now and then
    for (const Instance& instance : *all) notify(instance.id);
  }

  void notify(const ExecutorId& id) {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    if (listener_) listener_(id);
  }

  ContainerDriverOptions options_;
  Engine engine_;
  fs::path own_;
  GoneMarks gone_;
  std::string problem_;  // why nothing can be done; empty: none
  std::mutex
      listener_lock_;  // held while the listener runs, so that an old one never runs after it was replaced
  std::function<void(const ExecutorId&)> listener_;
  std::unique_ptr<container::HostImages> images_;
  posix_host::ChangeWatch watch_;  // these two last: their threads end first
  std::unique_ptr<container::ChangeStream> stream_;
};

}  // namespace

std::unique_ptr<Driver> make_container_driver(ContainerDriverOptions options) {
  return std::make_unique<ContainerDriver>(std::move(options));
}

}  // namespace skep::drivers
