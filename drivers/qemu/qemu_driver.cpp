#include "drivers/qemu/qemu_driver.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "common/log/log.h"
#include "common/shell/clock.h"
#include "drivers/qemu/guest_bridge.h"
#include "drivers/qemu/machine_planner.h"
#include "drivers/qemu/net_filter.h"
#include "drivers/qemu/overlay.h"
#include "drivers/qemu/qmp.h"
#include "drivers/qemu/qmp_texts.h"
#include "drivers/qemu/vm_record.h"
#include "drivers/qemu/warm_templates.h"
#include "drivers/shared/control_texts.h"
#include "drivers/shared/gone_marks.h"
#include "linux/linux_cgroup.h"
#include "linux/linux_files.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_run.h"
#include "linux/linux_watch.h"

namespace skep::drivers {
namespace {

namespace fs = std::filesystem;
using posix_host::Cgroups;
using posix_host::FileLock;
using posix_host::ProcessMarks;
using qemu::Layout;
using qemu::VmRecord;

constexpr Duration powerdown_deadline = seconds(1);
constexpr std::size_t max_tail = 300;

/// The end of a small file as one line, for people.
std::string tail_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  const auto size = static_cast<std::size_t>(file.tellg());
  const std::size_t from = size > max_tail ? size - max_tail : 0;
  file.seekg(static_cast<std::streamoff>(from));
  std::string text(size - from, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

/// Only root may run QEMU as another user.
QemuDriverOptions as_allowed(QemuDriverOptions options) {
  if (::geteuid() != 0) options.users = 0;
  return options;
}

class QemuDriver final : public Driver, public TicketDelivery, public ChangeSource {
 public:
  explicit QemuDriver(QemuDriverOptions options)
      : options_(as_allowed(std::move(options))),
        layout_{fs::path(options_.root).lexically_normal(), options_.owner_tag},
        gone_(layout_.gone().string()),
        boot_id_(posix_host::read_host_facts("/").boot_id),
        planner_(
            options_,
            {options_.warm_folder.empty() ? layout_.own() / "warm" : fs::path(options_.warm_folder),
             options_.image_program, Layout::cookie_name, layout_.cookie_value(ExecutorId(".template"))}),
        watch_([this](const std::string& id) { notify(ExecutorId(id)); }),
        bridge_([this](const std::string& id) { notify(ExecutorId(id)); }) {
    if (options_.uses_cgroups) cgroups_ = Cgroups::probe();
    problem_ = planner_.problem();
  }

  std::string name() const override { return "qemu"; }

  Capabilities capabilities() const override {
    Capabilities capabilities;
    capabilities.can_redeliver_ticket = true;
    capabilities.reports_changes = true;
    capabilities.limits_cpu = cgroups_.limits_cpu();
    capabilities.limits_memory = capabilities.limits_disk = true;
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
    if (auto removed = planner_.templates().remove_leftovers(); !removed)
      log::write_error("templates of warm clones that no longer serve", removed.error());
    posix_host::LaunchRequest request;
    request.argv = {options_.program, "--version"};
    request.environment = posix_host::basic_environment();
    const auto version = posix_host::run_program(request, options_.start_deadline);
    if (!version || version->exit_code != 0) {
      report.detail =
          version ? "QEMU does not tell its version: " + version->output : version.error().message;
      return report;
    }
    report.is_usable = true;
    report.detail = version->output.substr(0, version->output.find('\n'));
    planner_.probe(report);
    report.detail += "; " + (options_.uses_cgroups ? cgroups_.detail() : "control groups are switched off");
    if (options_.users == 0) report.detail += "; machines run as the user of skep-agentd";
    return report;
  }

  Result<std::vector<Instance>> list() override {
    std::set<std::string> names;
    for (const fs::path& folder : {layout_.run(), layout_.being_made(), layout_.leaving()}) {
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
    const auto record = find(id);
    if (!record) return unseen(id, record.error());
    if (*record && (*record)->owner == layout_.owner) return look_inside(std::move(instance), **record);
    for (const fs::path& folder : {layout_.being_made(), layout_.leaving()}) {
      const auto is_there = posix_host::is_there((folder / id.text).string());
      if (!is_there) return unseen(id, is_there.error());
      if (*is_there) instance.state = InstanceState::creating;
    }
    return instance;
  }

  Result<Instance> start(const StartRequest& request) override {
    const ExecutorId& id = request.spec.id;
    if (auto checked = check_id(id); !checked) return checked.error();
    if (auto checked = planner_.check(request); !checked) return checked.error();
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
    Error error = made.error();
    if (error.outcome == Outcome::unknown) error.outcome = Outcome::try_again;  // it was seen gone
    return error;
  }

  Result<void> stop(const ExecutorId& id, Duration deadline) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto record = find(id);
    if (!record) return unseen(id, record.error());
    if (!*record || (*record)->owner != layout_.owner) return {};
    const auto marks = marks_of(id, **record);
    if (!marks) return marks.error();
    if (marks->root) {
      const Instant limit = shell::now() + deadline;
      bridge_.attach(id.text, layout_.folder(id).string());
      bridge_.ask_to_stop(id.text);
      // A guest that does not listen may have a button.
      static_cast<void>(qemu::qmp_call(socket_of(id), {"system_powerdown", {}, -1},
                                       std::min<Duration>(deadline, powerdown_deadline)));
      posix_host::wait_for_end(*marks->root, std::max<Duration>(limit - shell::now(), Duration::zero()));
    }
    return posix_host::kill_all(*marks, options_.kill_deadline);
  }

  Result<void> destroy(const ExecutorId& id) override {
    if (auto checked = check_id(id); !checked) return checked.error();
    const auto record = find(id);
    if (!record) return unseen(id, record.error());
    if (*record && (*record)->owner != layout_.owner) {
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
    if (!instance || instance->state != InstanceState::running) return instance;
    if (const auto record = find(id); record && *record) watch_.watch_process(id.text, (*record)->qemu);
    bridge_.attach(id.text, layout_.folder(id).string());
    return inspect(id);  // what changed before we watched
  }

  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    const auto instance = inspect(id);
    if (!instance) return instance.error();
    if (instance->state != InstanceState::running) {
      return Error::failed(ErrorCode::not_found,
                           "executor " + id.text + " does not run; it cannot take a ticket");
    }
    const std::string place = (layout_.control(id) / "ticket").string();
    if (auto written =
            posix_host::write_file_atomically(place, encode(qemu::MachinePlanner::inside(ticket)), 0600);
        !written)
      return written;
    bridge_.attach(id.text, layout_.folder(id).string());
    bridge_.look_for_ticket(id.text);
    return {};
  }

  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    listener_ = std::move(listener);
  }

 private:
  std::string socket_of(const ExecutorId& id) const {
    return (layout_.folder(id) / qemu::qmp_socket).string();
  }

  Result<void> check_id(const ExecutorId& id) const {
    if (!problem_.empty()) return Error::failed(ErrorCode::invalid_input, problem_);
    if (is_valid_name(id.text)) return {};
    return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
  }

  Result<void> make_folders() const {
    std::error_code failure;
    fs::create_directories(layout_.root.parent_path(), failure);
    for (const fs::path& each : {layout_.root, layout_.run(), layout_.own(), layout_.being_made(),
                                 layout_.leaving(), layout_.gone()}) {
      if (auto made = make_private_folder(each.string()); !made) return made;
    }
    return {};
  }

  /// Of any owner.
  Result<std::optional<VmRecord>> find(const ExecutorId& id) const {
    auto record = Layout::read_record(layout_.folder(id));
    if (record && record->id == id) return std::optional<VmRecord>(std::move(*record));
    if (!record && record.error().code == ErrorCode::not_found) return std::optional<VmRecord>();
    if (!record && record.error().code != ErrorCode::malformed_reply) return record.error();
    VmRecord foreign;  // whoever's it is: it has no record of ours
    foreign.id = id;
    return std::optional<VmRecord>(std::move(foreign));
  }

  Result<bool> is_running(const VmRecord& record) const {
    if (!record.is_running || record.boot_id != boot_id_) return false;
    return posix_host::is_alive_with(record.qemu, layout_.cookie(record.id));
  }

  Result<Instance> look_inside(Instance instance, const VmRecord& record) {
    instance.epoch = record.epoch;
    if (!record.is_running) {
      instance.state = InstanceState::creating;
      return instance;
    }
    posix_host::reap(record.qemu.pid);
    const auto is_alive = is_running(record);
    if (!is_alive) return unseen(instance.id, is_alive.error());
    instance.state = *is_alive ? InstanceState::running : InstanceState::exited;
    const std::string status = (layout_.control(instance.id) / "status").string();
    if (const auto text = posix_host::read_plain_file(status, max_status_bytes))
      apply_status(*text, instance);
    if (*is_alive) bridge_.attach(instance.id.text, layout_.folder(instance.id).string());
    if (*is_alive || instance.agent == AgentPhase::ended) return instance;
    instance.agent = AgentPhase::ended;
    instance.message =
        "the machine ended; its console says: " + tail_of(layout_.folder(instance.id) / "serial.log");
    return instance;
  }

  Result<ProcessMarks> marks_of(const ExecutorId& id, const std::optional<VmRecord>& record) const {
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
    if (*is_alive) marks.root = record->qemu;
    return marks;
  }

  /// A user that no machine has: of any owner by its record, of anybody else by its processes.
  Result<std::optional<std::uint32_t>> choose_user() const {
    if (options_.users == 0) return std::optional<std::uint32_t>();
    const auto records = layout_.read_records();
    if (!records) return records.error();
    std::set<std::uint32_t> taken;
    for (const VmRecord& record : *records) {
      if (record.user) taken.insert(*record.user);
    }
    for (const std::uint32_t user : posix_host::users_of_processes()) taken.insert(user);
    // The last one is for templates of warm clones.
    const std::uint32_t last = options_.first_user + std::max<std::uint32_t>(options_.users - 1, 1);
    for (std::uint32_t user = options_.first_user; user < last; ++user) {
      if (taken.count(user) == 0) return std::optional<std::uint32_t>(user);
    }
    return Error::try_again(ErrorCode::out_of_resources, "no user is left of drivers.qemu.users",
                            "give it a larger range");
  }

  /// Everything that can be made before QEMU runs is made aside, then appears at once under its id.
  Result<VmRecord> make_aside(const StartRequest& request, const qemu::Machine& machine) const {
    const ExecutorId& id = request.spec.id;
    const fs::path aside = layout_.being_made() / id.text;
    if (auto removed = posix_host::remove_tree(aside.string()); !removed) return removed.error();
    const auto text = planner_.start_text(request, machine.network);
    if (!text) return text.error();
    VmRecord record{layout_.owner,
                    id,
                    request.epoch,
                    false,
                    {},
                    boot_id_,
                    cgroups_.folders_of(layout_.cgroup_name(id)),
                    {},
                    {},
                    machine.detail};
    {
      // Of all owners: until the record is there, nobody else chooses a user.
      const auto lock = FileLock::acquire(layout_.root.string(), options_.kill_deadline);
      if (!lock) return lock.error();
      const auto user = choose_user();
      if (!user) return user.error();
      record.user = *user;
      if (machine.network.mode == qemu::filtered_network) record.filter = qemu::table_of(**user);
      for (const fs::path& folder : {aside, aside / "control"}) {
        if (auto made = make_private_folder(folder.string()); !made) return made.error();
      }
      if (auto written =
              posix_host::write_file_durably((aside / Layout::record_file).string(), encode(record), 0600);
          !written)
        return written.error();
    }
    if (auto written = posix_host::write_file_atomically((aside / "control" / "start").string(), *text, 0600);
        !written)
      return written.error();
    if (!machine.disk.empty()) {
      const auto made =
          qemu::make_overlay(options_.image_program, machine.disk, (aside / qemu::overlay_file).string());
      if (!made) return made.error();
      if (auto given = qemu::give_overlay(aside.string(), machine.warm ? record.user : std::nullopt); !given)
        return given.error();
    }
    if (auto renamed = posix_host::rename_without_replacing(aside.string(), layout_.folder(id).string());
        !renamed)
      return renamed.error();
    return record;
  }

  Result<void> make(const StartRequest& request) {
    if (auto made = make_folders(); !made) return made;
    auto machine = planner_.plan(request);
    if (!machine) return machine.error();
    if (request.spec.start != StartMode::warm_clone) return make_machine(request, *machine).result;
    // A clone that cannot be had is a reason to boot, not to fail.
    qemu::Machine clone = *machine;
    Result<void> cloned = planner_.make_clone_of(clone);
    if (cloned) {
      const Made made = make_machine(request, clone);
      if (made.result || !made.is_for_cloning) return made.result;
      cloned = made.result;
      planner_.templates().forget(*clone.warm);
      if (auto cleared = remove_machine_of(request.spec.id); !cleared) return cleared;
    }
    log::write(log::Level::warning, "executor " + request.spec.id.text +
                                        " boots, for it could not be cloned: " + cloned.error().message);
    return make_machine(request, *machine).result;
  }

  struct Made {
    Result<void> result;
    bool is_for_cloning = false;  // it failed because it was a clone
  };

  Made make_machine(const StartRequest& request, qemu::Machine& machine) {
    auto record = make_aside(request, machine);
    if (!record) return {record.error()};
    if (!record->filter.empty()) {
      const std::string text_file = (layout_.folder(record->id) / "filter.nft").string();
      if (auto applied = qemu::apply_filter(*record->user, machine.network.reaches, text_file); !applied)
        return {applied};
    }
    machine.plan.user = record->user;
    if (auto launched = launch(request, machine, *record); !launched) return {launched};
    const bool is_clone = machine.warm.has_value();
    if (auto answered = wait_until_it_runs(*record, machine); !answered) return {answered, is_clone};
    record->is_running = true;
    const std::string file = (layout_.folder(record->id) / Layout::record_file).string();
    return {posix_host::write_file_atomically(file, encode(*record), 0600)};
  }

  Result<void> launch(const StartRequest& request, const qemu::Machine& machine, VmRecord& record) {
    const qemu::VmPlan& plan = machine.plan;
    const ExecutorId& id = record.id;
    const fs::path folder = layout_.folder(id);
    // Held until QEMU runs with its cookie: when we are killed in between, a forked child still holds the
    // lock.
    const auto lock = FileLock::acquire(folder.string(), options_.kill_deadline);
    if (!lock) return lock.error();
    const auto groups = cgroups_.make(
        layout_.cgroup_name(id), {request.spec.resources.cpu_millis, plan.memory_bytes + qemu::overhead_bytes,
                                  options_.max_processes});
    if (!groups) return groups.error();
    posix_host::LaunchRequest launch;
    launch.argv = qemu::command_line(plan);
    launch.environment = posix_host::basic_environment();
    launch.environment[Layout::cookie_name] = layout_.cookie_value(id);
    launch.working_directory = folder.string();
    launch.output_file = (folder / "qemu.log").string();
    launch.cgroups = *groups;
    const auto launched = posix_host::launch(launch);
    if (!launched) return launched.error();
    record.qemu = *launched;
    bridge_.attach(id.text, folder.string());
    watch_.watch_process(id.text, record.qemu);
    return {};
  }

  Result<void> wait_until_it_runs(const VmRecord& record, const qemu::Machine& machine) {
    const Instant limit = shell::now() + options_.start_deadline;
    for (;;) {
      const auto answer =
          qemu::qmp_call(socket_of(record.id), {"query-status", {}, -1}, limit - shell::now());
      const std::string what = "the machine of executor " + record.id.text;
      if (answer) {
        const auto state = qemu::read_run_state(*answer);
        if (!state) return state.error();
        if (*state == "running") return {};
        if (*state == "inmigrate" && machine.warm) {
          return qemu::resume(socket_of(record.id), *machine.warm, options_.start_deadline);
        }
        return Error::unknown(ErrorCode::malformed_reply, what + " is " + *state + ", not running");
      }
      if (!posix_host::is_alive(record.qemu)) {
        posix_host::reap(record.qemu.pid);
        return Error::try_again(ErrorCode::unavailable,
                                what + " did not start: " + tail_of(layout_.folder(record.id) / "qemu.log"));
      }
      const bool is_too_early =
          answer.error().code == ErrorCode::not_found || answer.error().code == ErrorCode::unavailable;
      if (!is_too_early || shell::now() >= limit) return answer.error();
      std::this_thread::sleep_for(milliseconds(5));
    }
  }

  /// Until it is seen that nothing is left; then nothing is made from its image any more.
  Result<void> remove_all_of(const ExecutorId& id) {
    if (auto removed = remove_machine_of(id); !removed) return removed;
    return options_.image_source == nullptr ? Result<void>() : options_.image_source->release(id);
  }

  /// Its folder last, for it tells of the rest.
  Result<void> remove_machine_of(const ExecutorId& id) {
    const auto record = find(id);
    if (!record) return unseen(id, record.error());
    const bool is_ours = *record && (*record)->owner == layout_.owner;
    {
      std::optional<FileLock> lock;
      if (is_ours) {
        auto acquired = FileLock::acquire(layout_.folder(id).string(), options_.kill_deadline);
        if (!acquired) return Error::try_again(acquired.error().code, acquired.error().message);
        lock = std::move(*acquired);
      }
      const auto marks = marks_of(id, is_ours ? *record : std::nullopt);
      if (!marks) return marks.error();
      if (auto killed = posix_host::kill_all(*marks, options_.kill_deadline); !killed) return killed;
      if (auto removed = Cgroups::remove(marks->cgroups, options_.kill_deadline); !removed) return removed;
      if (is_ours && !(*record)->filter.empty()) {
        if (auto removed = qemu::remove_filter((*record)->filter); !removed) return removed;
      }
    }
    watch_.forget(id.text);
    bridge_.forget(id.text);
    const std::string leaving = (layout_.leaving() / id.text).string();
    for (const std::string& folder : {leaving, (layout_.being_made() / id.text).string()}) {
      if (auto removed = posix_host::remove_tree(folder); !removed) return removed;
    }
    if (!is_ours) return {};
    // A removal that is killed half-way leaves no folder under the id that lacks its record.
    if (auto renamed = posix_host::rename_without_replacing(layout_.folder(id).string(), leaving); !renamed)
      return renamed;
    return posix_host::remove_tree(leaving);
  }

  Result<void> mark_gone(const ExecutorId& id) {
    if (auto made = make_folders(); !made) return made;
    return gone_.mark(id);
  }

  void notify(const ExecutorId& id) {
    const std::lock_guard<std::mutex> guard(listener_lock_);
    if (listener_) listener_(id);
  }

  QemuDriverOptions options_;
  Layout layout_;
  GoneMarks gone_;
  std::string boot_id_;
  std::string problem_;  // why nothing can be done; empty: none
  Cgroups cgroups_;
  qemu::MachinePlanner planner_;
  std::mutex
      listener_lock_;  // held while the listener runs, so that an old one never runs after it was replaced
  std::function<void(const ExecutorId&)> listener_;
  posix_host::ChangeWatch watch_;  // these two last: their threads end first
  qemu::GuestBridge bridge_;
};

}  // namespace

std::unique_ptr<Driver> make_qemu_driver(QemuDriverOptions options) {
  return std::make_unique<QemuDriver>(std::move(options));
}

}  // namespace skep::drivers
