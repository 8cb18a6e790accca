#include "drivers/process/process_driver.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>

#include "common/json/json.h"
#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "linux/linux_files.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"

namespace skep::drivers {
namespace {

namespace fs = std::filesystem;
using json::Json;
using posix_host::ProcessIdentity;

constexpr Duration kill_deadline = seconds(10);
constexpr std::size_t max_gone = 20'000;

struct Record {
  std::string owner;
  ExecutorId id;
  Epoch epoch = 0;
  std::string state;  // "creating", "running"
  ProcessIdentity join;
};

std::string encode(const Record& record) {
  return json::dump(Json{{"version", 1}, {"owner", record.owner}, {"id", record.id.text}, {"epoch", record.epoch}, {"state", record.state},
                         {"pid", record.join.pid}, {"start_ticks", record.join.start_ticks}});
}

Result<Record> decode(const std::string& text) {
  auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  try {
    Record record;
    record.owner = parsed->at("owner").get<std::string>();
    record.id = ExecutorId(parsed->at("id").get<std::string>());
    record.epoch = parsed->at("epoch").get<Epoch>();
    record.state = parsed->at("state").get<std::string>();
    record.join.pid = parsed->at("pid").get<pid_t>();
    record.join.start_ticks = parsed->at("start_ticks").get<std::uint64_t>();
    return record;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply, std::string("an executor's record cannot be read: ") + e.what());
  }
}

class ProcessDriver : public Driver, public TicketDelivery, public ChangeSource {
 public:
  explicit ProcessDriver(ProcessDriverOptions options) : options_(std::move(options)) {
    watch_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    wake_ = eventfd(0, EFD_CLOEXEC);
    watcher_ = std::thread([this] { watch(); });
  }
  ~ProcessDriver() override {
    is_stopping_ = true;
    const std::uint64_t one = 1;
    const ssize_t written = ::write(wake_, &one, sizeof one);
    static_cast<void>(written);
    watcher_.join();
    ::close(watch_);
    ::close(wake_);
  }
  ProcessDriver(const ProcessDriver&) = delete;
  ProcessDriver& operator=(const ProcessDriver&) = delete;

  std::string name() const override { return "process"; }

  Capabilities capabilities() const override {
    Capabilities capabilities;
    capabilities.can_redeliver_ticket = true;
    capabilities.reports_changes = true;
    return capabilities;
  }

  Result<ProbeReport> probe() override {
    ProbeReport report;
    std::error_code failure;
    fs::create_directories(options_.root, failure);
    fs::permissions(options_.root, fs::perms::owner_all, failure);
    if (failure || ::access(options_.root.c_str(), W_OK) != 0) {
      report.detail = "the folder " + options_.root + " cannot be written";
    } else if (::access(options_.join_program.c_str(), X_OK) != 0) {
      report.detail = "skep-join is not at " + options_.join_program;
    } else {
      report.is_usable = true;
      report.detail = "executors in " + options_.root;
    }
    for (const auto& [image, folder] : options_.images) {
      if (fs::is_directory(folder, failure)) report.images.push_back(image);
    }
    return report;
  }

  Result<std::vector<Instance>> list() override {
    std::vector<Instance> out;
    std::error_code failure;
    for (auto entry = fs::directory_iterator(options_.root, failure); !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
      const std::string id = entry->path().filename().string();
      if (!is_valid_name(id) || !entry->is_directory(failure)) continue;
      auto instance = inspect(ExecutorId(id));
      if (!instance) return instance.error();
      if (instance->state != InstanceState::absent) out.push_back(std::move(*instance));
    }
    if (failure && failure != std::errc::no_such_file_or_directory) {
      return Error::unknown(ErrorCode::generic, "cannot list executors in " + options_.root + ": " + failure.message());
    }
    return out;
  }

  Result<Instance> inspect(const ExecutorId& id) override {
    Instance instance;
    instance.id = id;
    instance.handle = {1, id.text};
    std::error_code failure;
    if (!fs::exists(folder(id), failure)) {
      if (failure) return Error::unknown(ErrorCode::generic, "cannot look at executor " + id.text + ": " + failure.message());
      return instance;
    }
    auto record = read_record(id);
    if (!record || record->state != "running") {
      // Made by a start() that was killed half-way, or not by us at all: a folder without our mark is left alone.
      if (record ? record->owner != options_.owner_tag : !is_ours(id)) return instance;
      instance.state = InstanceState::creating;
      instance.epoch = record ? record->epoch : 0;
      return instance;
    }
    if (record->owner != options_.owner_tag) return instance;
    instance.epoch = record->epoch;
    posix_host::reap(record->join.pid);
    instance.state = posix_host::is_alive(record->join) ? InstanceState::running : InstanceState::exited;
    read_status(id, instance);
    if (instance.state == InstanceState::exited) instance.agent = AgentPhase::ended;
    return instance;
  }

  Result<Instance> start(const StartRequest& request) override {
    const ExecutorId& id = request.spec.id;
    if (!is_valid_name(id.text)) return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
    std::error_code failure;
    if (fs::exists(gone_mark(id), failure)) return Error::failed(ErrorCode::conflict, "executor " + id.text + " was destroyed; ids are never used again");
    auto present = inspect(id);
    if (!present) return present.error();
    if (present->state == InstanceState::running || present->state == InstanceState::exited) return present;
    if (present->state == InstanceState::creating) {
      if (auto cleared = destroy_residue(id); !cleared) return cleared.error();
    }
    auto made = make(request);
    if (!made) {
      // What failed leaves nothing behind; a failure to clean up is what the caller must know.
      if (auto cleared = destroy_residue(id); !cleared) return cleared.error();
      return made.error();
    }
    return inspect(id);
  }

  Result<void> stop(const ExecutorId& id, Duration deadline) override {
    auto record = read_record(id);
    if (!record || record->state != "running") return {};
    posix_host::send_signal(record->join, SIGTERM);
    const Instant give_up = shell::now() + deadline;
    while (posix_host::is_alive(record->join) && shell::now() < give_up) {
      posix_host::reap(record->join.pid);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return posix_host::kill_all(record->join, cookie(id), kill_deadline);
  }

  Result<void> destroy(const ExecutorId& id) override {
    std::error_code failure;
    if (!is_valid_name(id.text)) return Error::failed(ErrorCode::invalid_input, "\"" + id.text + "\" is no valid executor id");
    const bool is_there = fs::exists(folder(id), failure);
    if (is_there && !is_ours(id)) return Error::failed(ErrorCode::conflict, "the folder " + folder(id).string() + " is not ours; it is left alone");
    fs::create_directories(root() / ".gone", failure);
    if (auto marked = posix_host::write_file_durably(gone_mark(id).string(), "", 0600); !marked) return marked.error();
    prune_gone();
    return destroy_residue(id);
  }

  Result<Instance> recover(const InstanceHandle& handle) override {
    if (handle.version != 1 || !is_valid_name(handle.blob)) return Error::failed(ErrorCode::invalid_input, "a handle that this driver did not make");
    auto instance = inspect(ExecutorId(handle.blob));
    if (instance && instance->state != InstanceState::absent) watch_folder(instance->id);
    return instance;
  }

  Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) override {
    std::error_code failure;
    if (!fs::exists(folder(id) / "control", failure)) return Error::failed(ErrorCode::not_found, "executor " + id.text + " does not exist here");
    return write_ticket(id, ticket);
  }

  void set_change_listener(std::function<void(const ExecutorId&)> listener) override {
    const std::lock_guard<std::mutex> guard(lock_);
    listener_ = std::move(listener);
  }

 private:
  fs::path root() const { return options_.root; }
  fs::path folder(const ExecutorId& id) const { return root() / id.text; }
  fs::path gone_mark(const ExecutorId& id) const { return root() / ".gone" / id.text; }
  std::string cookie_value(const ExecutorId& id) const { return options_.owner_tag + "/" + id.text; }
  std::string cookie(const ExecutorId& id) const { return "SKEP_EXECUTOR=" + cookie_value(id); }

  /// Our folders carry a mark from their first instant: they are made aside and renamed into place.
  bool is_ours(const ExecutorId& id) const {
    const auto text = shell::read_file((folder(id) / ".skep-owner").string(), 1024);
    return text && *text == options_.owner_tag;
  }

  Result<Record> read_record(const ExecutorId& id) const {
    const auto text = shell::read_file((folder(id) / "record.json").string(), 64 * 1024);
    if (!text) return text.error();
    return decode(*text);
  }

  Result<void> write_record(const Record& record) const { return posix_host::write_file_durably((folder(record.id) / "record.json").string(), encode(record), 0600); }

  Result<void> write_ticket(const ExecutorId& id, const Ticket& ticket) const {
    const Json text{{"url", ticket.url}, {"node_name", ticket.node_name}, {"secret", ticket.secret}, {"attempt", ticket.attempt}};
    return posix_host::write_file_atomically((folder(id) / "control" / "ticket").string(), json::dump(text), 0600);
  }

  void read_status(const ExecutorId& id, Instance& instance) const {
    const auto text = shell::read_file((folder(id) / "control" / "status").string(), 64 * 1024);
    if (!text) return;
    const auto parsed = json::parse_strict(*text);
    if (!parsed) return;
    const auto phase = json::get_string(*parsed, "phase");
    const auto attempt = json::get_int64(*parsed, "attempt");
    if (phase) instance.agent = agent_phase_from(*phase).value_or(AgentPhase::none);
    if (attempt) instance.ticket_attempt = static_cast<std::uint32_t>(*attempt);
    if (const auto code = json::get_int64(*parsed, "exit_code")) instance.exit_code = static_cast<int>(*code);
    if (const auto message = json::get_string(*parsed, "message")) instance.message = *message;
  }

  Result<void> make_folder(const ExecutorId& id) const {
    std::error_code failure;
    fs::create_directories(options_.root, failure);
    fs::permissions(options_.root, fs::perms::owner_all, failure);
    const fs::path aside = root() / (".new-" + id.text);
    fs::remove_all(aside, failure);
    fs::create_directory(aside, failure);
    if (!failure) fs::permissions(aside, fs::perms::owner_all, failure);
    if (!failure) fs::create_directory(aside / "control", failure);
    if (failure) return Error::failed(ErrorCode::out_of_resources, "cannot make a folder for executor " + id.text + ": " + failure.message());
    if (auto marked = posix_host::write_file_durably((aside / ".skep-owner").string(), options_.owner_tag, 0600); !marked) return marked;
    fs::rename(aside, folder(id), failure);
    if (failure) return Error::failed(ErrorCode::generic, "cannot make a folder for executor " + id.text + ": " + failure.message());
    return {};
  }

  Result<void> copy_image(const StartRequest& request) const {
    const fs::path work = folder(request.spec.id) / "work";
    std::error_code failure;
    if (request.spec.image.empty()) {
      fs::create_directory(work, failure);
    } else {
      const auto image = options_.images.find(request.spec.image);
      if (image == options_.images.end() || !fs::is_directory(image->second, failure)) {
        return Error::failed(ErrorCode::not_found, "image \"" + request.spec.image + "\" is not on this host", "add it to drivers.process.images");
      }
      fs::copy(image->second, work, fs::copy_options::recursive | fs::copy_options::copy_symlinks, failure);
    }
    if (!failure) return {};
    const bool is_full = failure == std::errc::no_space_on_device;
    return Error::failed(is_full ? ErrorCode::out_of_resources : ErrorCode::generic, "cannot copy image \"" + request.spec.image + "\" for executor " + request.spec.id.text + ": " + failure.message());
  }

  Result<void> make(const StartRequest& request) {
    const ExecutorId& id = request.spec.id;
    Record record{options_.owner_tag, id, request.epoch, "creating", {}};
    if (auto made = make_folder(id); !made) return made;
    if (auto written = write_record(record); !written) return written;
    if (auto copied = copy_image(request); !copied) return copied;
    if (auto written = write_ticket(id, request.ticket); !written) return written;
    watch_folder(id);
    posix_host::LaunchRequest launch;
    const std::string control = (folder(id) / "control").string();
    launch.argv = {options_.join_program, "--ticket", control + "/ticket", "--status", control + "/status", "--work-dir", (folder(id) / "work").string(),
                   "--agent-jar", control + "/agent.jar"};
    if (!request.spec.agent_command.empty()) {
      launch.argv.emplace_back("--");
      launch.argv.insert(launch.argv.end(), request.spec.agent_command.begin(), request.spec.agent_command.end());
    }
    launch.environment = posix_host::basic_environment();
    for (const auto& [name, value] : request.spec.environment) launch.environment[name] = value;
    launch.environment["SKEP_EXECUTOR"] = cookie_value(id);
    launch.working_directory = (folder(id) / "work").string();
    launch.output_file = (folder(id) / "join.log").string();
    launch.is_subreaper = true;
    launch.max_open_files = options_.max_open_files;
    auto launched = posix_host::launch(launch);
    if (!launched) return launched.error();
    record.join = *launched;
    record.state = "running";
    return write_record(record);
  }

  Result<void> destroy_residue(const ExecutorId& id) {
    const auto record = read_record(id);
    std::optional<ProcessIdentity> join;
    if (record && record->state == "running") join = record->join;
    if (auto killed = posix_host::kill_all(join, cookie(id), kill_deadline); !killed) return killed;
    std::error_code failure;
    fs::remove_all(root() / (".new-" + id.text), failure);
    // Renamed first: a removal that is killed half-way leaves a name that list() never shows as an executor.
    const fs::path leaving = root() / (".leaving-" + id.text);
    fs::remove_all(leaving, failure);
    failure.clear();
    fs::rename(folder(id), leaving, failure);
    if (failure && failure != std::errc::no_such_file_or_directory) {
      return Error::try_again(ErrorCode::generic, "cannot remove executor " + id.text + ": " + failure.message());
    }
    failure.clear();
    fs::remove_all(leaving, failure);
    if (failure) return Error::try_again(ErrorCode::generic, "cannot remove the files of executor " + id.text + ": " + failure.message());
    return {};
  }

  void prune_gone() const {
    std::error_code failure;
    std::vector<std::pair<fs::file_time_type, fs::path>> marks;
    for (auto entry = fs::directory_iterator(root() / ".gone", failure); !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
      marks.emplace_back(entry->last_write_time(failure), entry->path());
    }
    if (marks.size() <= max_gone) return;
    std::sort(marks.begin(), marks.end());
    for (std::size_t i = 0; i < marks.size() - max_gone; ++i) fs::remove(marks[i].second, failure);
  }

  void watch_folder(const ExecutorId& id) {
    const int number = inotify_add_watch(watch_, (folder(id) / "control").c_str(), IN_MOVED_TO | IN_DELETE_SELF);
    const std::lock_guard<std::mutex> guard(lock_);
    if (number >= 0) watched_[number] = id;
  }

  void watch() {
    alignas(inotify_event) char buffer[8192];
    while (!is_stopping_) {
      pollfd fds[2] = {{watch_, POLLIN, 0}, {wake_, POLLIN, 0}};
      if (::poll(fds, 2, -1) <= 0 || is_stopping_) continue;
      const ssize_t size = ::read(watch_, buffer, sizeof buffer);
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        notify(*event);
      }
    }
  }

  void notify(const inotify_event& event) {
    std::function<void(const ExecutorId&)> listener;
    ExecutorId id;
    {
      const std::lock_guard<std::mutex> guard(lock_);
      const auto found = watched_.find(event.wd);
      if (found == watched_.end()) return;
      id = found->second;
      listener = listener_;
      if ((event.mask & IN_IGNORED) != 0) watched_.erase(found);
    }
    if (listener) listener(id);
  }

  ProcessDriverOptions options_;
  int watch_ = -1, wake_ = -1;
  std::atomic<bool> is_stopping_{false};
  std::mutex lock_;  // guards listener_ and watched_
  std::function<void(const ExecutorId&)> listener_;
  std::map<int, ExecutorId> watched_;
  std::thread watcher_;
};

}  // namespace

std::unique_ptr<Driver> make_process_driver(ProcessDriverOptions options) { return std::make_unique<ProcessDriver>(std::move(options)); }

}  // namespace skep::drivers
