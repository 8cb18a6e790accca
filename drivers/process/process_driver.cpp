#include "drivers/process/process_driver.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <set>

#include "drivers/process/process_record.h"
#include "drivers/process/sandbox_plan.h"
#include "drivers/shared/control_texts.h"
#include "drivers/shared/gone_marks.h"
#include "linux/linux_cgroup.h"
#include "linux/linux_files.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_watch.h"

namespace skep::drivers {
namespace {

namespace fs = std::filesystem;
using posix_host::Cgroups;
using posix_host::FileLock;
using posix_host::ProcessMarks;
using process::Layout;
using process::Ownership;
using process::Record;

bool is_unusable(const Error& error) {
  return error.code == ErrorCode::not_found || error.code == ErrorCode::malformed_reply ||
         error.code == ErrorCode::conflict || error.code == ErrorCode::invalid_input ||
         error.code == ErrorCode::too_large;
}

class ProcessDriver final : public Driver, public TicketDelivery, public ChangeSource {
 public:
  explicit ProcessDriver(ProcessDriverOptions options)
      : options_(std::move(options)),
        boot_id_(posix_host::read_host_facts("/").boot_id),
        watch_([this](const std::string& id) { notify(ExecutorId(id)); }) {
    std::error_code failure;
    layout_.root = fs::weakly_canonical(options_.root, failure);
    if (failure || options_.root.empty())
      problem_ = "\"" + options_.root + "\" cannot be a folder for executors";
    layout_.owner = options_.owner_tag;
    gone_.emplace(layout_.gone().string());
    if (options_.sandbox) {
      sandbox_.emplace(*options_.sandbox);
      if (problem_.empty()) problem_ = sandbox_->problem();
    }
    if (!is_valid_owner_tag(options_.owner_tag))
      problem_ = "\"" + options_.owner_tag + "\" is no valid owner tag";
    if (options_.uses_cgroups) cgroups_ = Cgroups::probe();
  }

  std::string name() const override { return sandbox_ ? "namespaces" : "process"; }

  Capabilities capabilities() const override {
    Capabilities capabilities;
    capabilities.can_redeliver_ticket = true;
    capabilities.reports_changes = true;
    capabilities.limits_cpu = cgroups_.limits_cpu();
    capabilities.limits_memory = cgroups_.limits_memory();
    return capabilities;
  }

  Result<ProbeReport> probe() override {
    ProbeReport report;
    std::error_code failure;
    const std::string obstacle = find_obstacle();
    report.is_usable = obstacle.empty();
    report.detail = obstacle;
    if (report.is_usable) {
      report.detail = "executors in " + layout_.root.string() + "; ";
      report.detail += options_.uses_cgroups ? cgroups_.detail() : "control groups are switched off";
    }
    for (const auto& [image, folder] : options_.images) {
      if (fs::is_directory(folder, failure)) report.images.push_back(image);
    }
    if (options_.image_source != nullptr) {
      for (std::string& image : options_.image_source->ready_images(ImageFormat::directory_tar))
        report.images.push_back(std::move(image));
    }
    return report;
  }

  Result<std::vector<Instance>> list() override {
    std::set<std::string> names;
    for (const fs::path& folder : {layout_.root, layout_.being_made(), layout_.leaving()}) {
      std::error_code failure;
      for (auto entry = fs::directory_iterator(folder, failure);
           !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
        const std::string name = entry->path().filename().string();
        if (is_valid_name(name)) names.insert(name);
      }
      if (failure && failure != std::errc::no_such_file_or_directory) {
        return Error::unknown(ErrorCode::generic,
                              "cannot list executors in " + folder.string() + ": " + failure.message());
      }
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
    Instance instance;
    instance.id = id;
    instance.handle = {1, id.text};
    const auto ownership = layout_.ownership(id);
    if (!ownership) return unseen(id, ownership.error());
    if (*ownership == Ownership::ours) return look_inside(std::move(instance));
    for (const fs::path& folder : {layout_.being_made(), layout_.leaving()}) {
      const auto is_there = posix_host::is_there((folder / id.text).string());
      if (!is_there) return unseen(id, is_there.error());
      if (*is_there) instance.state = InstanceState::creating;
    }
    return instance;
  }

  Result<Instance> start(const StartRequest& request) override {
    const ExecutorId& id = request.spec.id;
    if (auto checked = check(request); !checked) return checked.error();
    if (auto refused = gone_->refuse(id); !refused) return refused.error();
    auto present = inspect(id);
    if (!present) return present;
    if (present->state == InstanceState::running || present->state == InstanceState::exited) return present;
    if (present->state == InstanceState::creating) {
      if (auto cleared = remove_all_of(id); !cleared) return cleared.error();
    }
    auto made = make(request);
    if (made) return inspect(id);
    // What failed leaves nothing behind; a failure to clean up is what the caller must know.
    if (auto cleared = remove_all_of(id); !cleared) {
      return Error::unknown(cleared.error().code,
                            made.error().message + "; and then " + cleared.error().message);
    }
    return made.error();
  }

  Result<void> stop(const ExecutorId& id, Duration deadline) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto ownership = layout_.ownership(id);
    if (!ownership) return unseen(id, ownership.error());
    if (*ownership != Ownership::ours) return {};
    const auto record = layout_.read_record(id);
    if (!record && !is_unusable(record.error())) return unseen(id, record.error());
    const auto marks = marks_of(id, record);
    if (!marks) return marks.error();
    if (marks->root) {
      posix_host::send_signal(*marks->root, SIGTERM);
      posix_host::wait_for_end(*marks->root, deadline);
    }
    return posix_host::kill_all(*marks, options_.kill_deadline);
  }

  Result<void> destroy(const ExecutorId& id) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto ownership = layout_.ownership(id);
    if (!ownership) return unseen(id, ownership.error());
    if (*ownership == Ownership::foreign) {
      return Error::failed(ErrorCode::conflict,
                           "the folder " + layout_.folder(id).string() + " is not ours; it is left alone");
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
    if (instance && instance->state == InstanceState::running) {
      watch_.watch_folder(id.text, layout_.control(id).string());
      if (const auto record = layout_.read_record(id)) watch_.watch_process(id.text, record->join);
      return inspect(id);  // what changed before we watched
    }
    return instance;
  }

  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    const auto instance = inspect(id);
    if (!instance) return instance.error();
    if (instance->state != InstanceState::running) {
      return Error::failed(ErrorCode::not_found,
                           "executor " + id.text + " does not run; it cannot take a ticket");
    }
    const std::string place = (layout_.control(id) / "ticket").string();
    std::optional<std::uint32_t> user;
    if (sandbox_) {  // elsewhere a build can write the record
      const auto record = layout_.read_record(id);
      if (!record) return record.error();
      user = record->user;
    }
    if (!user) return posix_host::write_file_atomically(place, encode(ticket), 0600);
    // Whoever looks for it must be able to read it from its first instant.
    const std::string aside = (layout_.folder(id) / "ticket").string();
    if (auto written = posix_host::write_file_atomically(aside, encode(ticket), 0600); !written)
      return written;
    if (::lchown(aside.c_str(), *user, *user) != 0 || ::rename(aside.c_str(), place.c_str()) != 0)
      return Error::try_again(ErrorCode::generic,
                              "the ticket of executor " + id.text + " cannot be put in its place");
    return {};
  }

  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    listener_ = std::move(listener);
  }

 private:
  /// Why nothing can be started; empty: it can.
  std::string find_obstacle() const {
    if (!problem_.empty()) return problem_;
    if (const auto made = make_folders(); !made) return made.error().message;
    if (::access(layout_.root.c_str(), W_OK) != 0)
      return "the folder " + layout_.root.string() + " cannot be written";
    const std::string& program = sandbox_ ? options_.sandbox->program : options_.join_program;
    std::error_code failure;
    if (!fs::is_regular_file(program, failure) || ::access(program.c_str(), X_OK) != 0)
      return (sandbox_ ? "skep-sandbox is not at " : "skep-join is not at ") + program +
             ", or may not be executed";
    if (!sandbox_) return "";
    const auto lock = FileLock::acquire(layout_.own().string(), options_.kill_deadline);
    const auto tried = lock ? sandbox_->try_out(layout_.own() / "trial") : Result<void>(lock.error());
    return tried ? "" : "no executor in namespaces can be made here: " + tried.error().message;
  }

  Result<void> check_id(const ExecutorId& id) const {
    if (!problem_.empty()) return Error::failed(ErrorCode::invalid_input, problem_);
    if (is_valid_name(id.text)) return {};
    return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
  }

  Result<void> check(const StartRequest& request) const {
    if (auto checked = check_id(request.spec.id); !checked) return checked;
    for (const auto& [name, value] : request.spec.environment) {
      const bool is_valid = !name.empty() && name.find('=') == std::string::npos &&
                            name != Layout::cookie_name && name.find('\0') == std::string::npos &&
                            value.find('\0') == std::string::npos;
      if (!is_valid)
        return Error::failed(ErrorCode::invalid_input,
                             "\"" + name + "\" cannot be set in an executor's environment");
    }
    if (sandbox_) {
      if (auto checked = sandbox_->check(request.spec); !checked) return checked;
    } else if (!request.spec.network.empty()) {
      return Error::failed(ErrorCode::unsupported, "the process driver has no network \"" +
                                                       request.spec.network + "\" for executor " +
                                                       request.spec.id.text);
    }
    const std::string& image = request.spec.image;
    std::error_code failure;
    const auto found = options_.images.find(image);
    if (found == options_.images.end() && options_.image_source != nullptr)
      return {};  // it is asked for a hold
    const bool is_known =
        image.empty() || (found != options_.images.end() && fs::is_directory(found->second, failure));
    if (is_known) return {};
    return Error::failed(ErrorCode::not_found, "image \"" + image + "\" is not on this host",
                         "add it to drivers." + name() + ".images");
  }

  Result<void> make_folders() const {
    std::error_code failure;
    if (!fs::exists(layout_.root, failure)) {
      fs::create_directories(layout_.root.parent_path(), failure);
      if (auto made = make_private_folder(layout_.root.string()); !made) return made;
    }
    for (const fs::path& folder : {layout_.own(), layout_.being_made(), layout_.leaving(), layout_.gone()}) {
      if (auto made = make_private_folder(folder.string()); !made) return made;
    }
    return {};
  }

  /// The folder is ours; what runs in it?
  Result<Instance> look_inside(Instance instance) const {
    const auto record = layout_.read_record(instance.id);
    if (!record && !is_unusable(record.error())) return unseen(instance.id, record.error());
    if (record) instance.epoch = record->epoch;
    if (!record || !record->is_running) {
      instance.state = InstanceState::creating;
      return instance;
    }
    posix_host::reap(record->join.pid);
    const auto is_alive = is_running(*record);
    if (!is_alive) return unseen(instance.id, is_alive.error());
    instance.state = *is_alive ? InstanceState::running : InstanceState::exited;
    const std::string status = (layout_.control(instance.id) / "status").string();
    if (const auto text = posix_host::read_plain_file(status, max_status_bytes))
      apply_status(*text, instance);
    if (*is_alive || instance.agent == AgentPhase::ended) return instance;
    instance.agent = AgentPhase::ended;
    instance.message = "skep-join ended without a word; see logs/join.log of the executor";
    return instance;
  }

  /// The record alone is not believed: a build can write it.
  Result<bool> is_running(const Record& record) const {
    if (!record.is_running || record.boot_id != boot_id_) return false;
    return posix_host::is_alive_with(record.join, record.cookie);
  }

  Result<ProcessMarks> marks_of(const ExecutorId& id, const Result<Record>& record) const {
    ProcessMarks marks;
    marks.cookie = layout_.cookie(id);
    marks.cgroups = cgroups_.folders_of(layout_.cgroup_name(id));
    if (!record) return marks;
    for (const std::string& folder : record->cgroups) {
      if (std::find(marks.cgroups.begin(), marks.cgroups.end(), folder) == marks.cgroups.end())
        marks.cgroups.push_back(folder);
    }
    const auto is_alive = is_running(*record);
    if (!is_alive) return is_alive.error();
    if (*is_alive) marks.root = record->join;
    return marks;
  }

  /// Everything that can be made before a process runs is made aside, then appears at once under its id.
  Result<void> make_aside(const StartRequest& request, const std::string& image, const Record& record) const {
    const ExecutorId& id = request.spec.id;
    const fs::path aside = layout_.being_made() / id.text;
    if (auto made = make_folders(); !made) return made;
    if (auto removed = posix_host::remove_tree(aside.string()); !removed) return removed;
    for (const fs::path& folder : {aside, aside / "control", aside / "tmp", aside / "logs"}) {
      if (auto made = make_private_folder(folder.string()); !made) return made;
    }
    if (!sandbox_) {
      if (auto copied = copy_image(request, image, aside / "work"); !copied) return copied;
    }
    const std::string ticket = (aside / "control" / "ticket").string();
    if (auto written = posix_host::write_file_atomically(ticket, encode(request.ticket), 0600); !written)
      return written;
    if (sandbox_) {
      if (auto made = sandbox_->make_folders(aside, record.user); !made) return made;
    }
    const std::string mark = (aside / Layout::owner_file).string();
    if (auto written = posix_host::write_file_durably(mark, layout_.owner, 0600); !written) return written;
    const std::string record_file = (aside / "record.json").string();
    if (auto written = posix_host::write_file_atomically(record_file, process::encode(record), 0600);
        !written)
      return written;
    return posix_host::rename_without_replacing(aside.string(), layout_.folder(id).string());
  }

  /// The image's folder; empty where the template names none. It is held when it is the store's.
  Result<std::string> folder_of_image(const StartRequest& request) const {
    if (request.spec.image.empty()) return std::string();
    if (const auto own = options_.images.find(request.spec.image); own != options_.images.end())
      return own->second;
    const auto held =
        options_.image_source->hold(request.spec.image, ImageFormat::directory_tar, request.spec.id);
    if (!held) return held.error();
    return held->folder;
  }

  static Result<void> copy_image(const StartRequest& request, const std::string& folder,
                                 const fs::path& work) {
    if (folder.empty()) return make_private_folder(work.string());
    auto copied = posix_host::copy_tree(folder, work.string());
    if (copied) return copied;
    Error error = copied.error();
    error.message = "cannot make executor " + request.spec.id.text + " from image \"" + request.spec.image +
                    "\": " + error.message;
    return error;
  }

  std::vector<std::string> join_command(const ExecutorSpec& spec, const fs::path& control,
                                        const fs::path& work) const {
    std::vector<std::string> argv{options_.join_program,
                                  "--ticket",
                                  (control / "ticket").string(),
                                  "--status",
                                  (control / "status").string(),
                                  "--work-dir",
                                  work.string(),
                                  "--agent-jar",
                                  (control / "agent.jar").string(),
                                  "--linger",
                                  std::to_string(std::chrono::ceil<seconds>(options_.linger).count()),
                                  "--stop-grace",
                                  std::to_string(std::chrono::ceil<seconds>(spec.stop_grace).count())};
    if (spec.agent_command.empty()) return argv;
    argv.emplace_back("--");
    argv.insert(argv.end(), spec.agent_command.begin(), spec.agent_command.end());
    return argv;
  }

  posix_host::LaunchRequest launch_request(const StartRequest& request, const std::string& image,
                                           std::optional<std::uint32_t> user) const {
    const ExecutorId& id = request.spec.id;
    const fs::path folder = layout_.folder(id);
    posix_host::LaunchRequest launch;
    if (sandbox_) {
      launch.argv =
          sandbox_->command_line(folder, image, request.spec, user,
                                 join_command(request.spec, process::control_inside, process::work_inside));
      launch.environment = {{"HOME", process::work_inside},
                            {"TMPDIR", "/tmp"},
                            {"LANG", "C.UTF-8"},
                            {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
    } else {
      launch.argv = join_command(request.spec, layout_.control(id), folder / "work");
      launch.environment = posix_host::basic_environment();
      launch.environment["HOME"] =
          (folder / "work").string();  // what tools keep there goes with the executor
      launch.environment["TMPDIR"] = (folder / "tmp").string();
      launch.working_directory = (folder / "work").string();
      launch.is_subreaper = true;
    }
    for (const auto& [name, value] : request.spec.environment) launch.environment[name] = value;
    launch.environment[Layout::cookie_name] = layout_.cookie_value(id);
    launch.output_file = (folder / "logs" / "join.log").string();
    launch.max_open_files = options_.max_open_files;
    return launch;
  }

  /// A user of its own, and its record before anybody else can choose that.
  Result<void> make_with_user(const StartRequest& request, const std::string& image, Record& record) const {
    if (auto made = make_folders(); !made) return made;
    const auto lock = FileLock::acquire(layout_.root.string(), options_.kill_deadline);
    if (!lock) return lock.error();
    const auto user = sandbox_->choose_user(layout_);
    if (!user) return user.error();
    record.user = *user;
    return make_aside(request, image, record);
  }

  Result<void> make(const StartRequest& request) {
    const ExecutorId& id = request.spec.id;
    const std::string cgroup = layout_.cgroup_name(id);
    Record record{layout_.owner,
                  id,
                  request.epoch,
                  false,
                  {},
                  boot_id_,
                  layout_.cookie(id),
                  cgroups_.folders_of(cgroup),
                  {}};
    const auto image = folder_of_image(request);
    if (!image) return image.error();
    if (auto made = sandbox_ ? make_with_user(request, *image, record) : make_aside(request, *image, record);
        !made)
      return made;
    // Held until skep-join runs with its cookie: when we are killed in between, a forked child still holds
    // the lock.
    const auto lock = FileLock::acquire(layout_.folder(id).string(), options_.kill_deadline);
    if (!lock) return lock.error();
    const Resources& resources = request.spec.resources;
    const auto groups =
        cgroups_.make(cgroup, {resources.cpu_millis, resources.memory_bytes, options_.max_processes});
    if (!groups) return groups.error();
    watch_.watch_folder(id.text, layout_.control(id).string());
    posix_host::LaunchRequest launch = launch_request(request, *image, record.user);
    launch.cgroups = *groups;
    const auto launched = posix_host::launch(launch);
    if (!launched) return launched.error();
    record.join = *launched;
    record.is_running = true;
    watch_.watch_process(id.text, record.join);
    if (sandbox_) {
      if (auto runs = sandbox_->wait_until_it_runs(layout_.folder(id), record.join); !runs) return runs;
    }
    return posix_host::write_file_atomically((layout_.folder(id) / "record.json").string(),
                                             process::encode(record), 0600);
  }

  Result<void> remove_all_of(const ExecutorId& id) {
    const auto ownership = layout_.ownership(id);
    if (!ownership) return unseen(id, ownership.error());
    const bool is_ours = *ownership == Ownership::ours;
    {
      std::optional<FileLock> lock;
      if (is_ours) {
        auto acquired = FileLock::acquire(layout_.folder(id).string(), options_.kill_deadline);
        if (!acquired) return Error::try_again(acquired.error().code, acquired.error().message);
        lock = std::move(*acquired);
      }
      const auto record = is_ours ? layout_.read_record(id) : Error::failed(ErrorCode::not_found, "");
      if (!record && !is_unusable(record.error())) return unseen(id, record.error());
      const auto marks = marks_of(id, record);
      if (!marks) return marks.error();
      if (auto killed = posix_host::kill_all(*marks, options_.kill_deadline); !killed) return killed;
      if (auto removed = Cgroups::remove(marks->cgroups, options_.kill_deadline); !removed) return removed;
    }
    watch_.forget(id.text);
    const std::string leaving = (layout_.leaving() / id.text).string();
    for (const std::string& folder : {leaving, (layout_.being_made() / id.text).string()}) {
      if (auto removed = posix_host::remove_tree(folder); !removed) return removed;
    }
    if (!is_ours) return release_image(id);
    // A removal that is killed half-way leaves no folder under the id that lacks its mark or record.
    if (auto renamed = posix_host::rename_without_replacing(layout_.folder(id).string(), leaving); !renamed)
      return renamed;
    if (auto removed = posix_host::remove_tree(leaving); !removed) return removed;
    return release_image(id);
  }

  /// When nothing is left that was made from it.
  Result<void> release_image(const ExecutorId& id) const {
    return options_.image_source == nullptr ? Result<void>() : options_.image_source->release(id);
  }

  Result<void> mark_gone(const ExecutorId& id) {
    if (auto made = make_folders(); !made) return made;
    return gone_->mark(id);
  }

  void notify(const ExecutorId& id) {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    if (listener_) listener_(id);
  }

  ProcessDriverOptions options_;
  Layout layout_;
  std::string boot_id_;
  std::string problem_;  // why nothing can be done; empty: none
  Cgroups cgroups_;
  std::optional<process::SandboxPlan> sandbox_;
  std::optional<GoneMarks> gone_;
  std::mutex
      listener_lock_;  // held while the listener runs, so that an old one never runs after it was replaced
  std::function<void(const ExecutorId&)> listener_;
  posix_host::ChangeWatch watch_;  // last: its thread ends first
};

}  // namespace

std::unique_ptr<Driver> make_process_driver(ProcessDriverOptions options) {
  return std::make_unique<ProcessDriver>(std::move(options));
}

}  // namespace skep::drivers
