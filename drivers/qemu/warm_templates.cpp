#include "drivers/qemu/warm_templates.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "common/json/json.h"
#include "common/shell/clock.h"
#include "drivers/qemu/guest_texts.h"
#include "drivers/qemu/overlay.h"
#include "drivers/qemu/qmp.h"
#include "drivers/qemu/qmp_texts.h"
#include "drivers/shared/gone_marks.h"
#include "drivers/shared/short_hash.h"
#include "linux/linux_files.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_socket.h"

namespace skep::drivers::qemu {
namespace {

namespace fs = std::filesystem;

constexpr Duration qmp_deadline = seconds(30);
constexpr Duration kill_deadline = seconds(10);
constexpr Duration digest_deadline = minutes(5);
constexpr Duration failure_stays = minutes(1);
constexpr std::size_t most_templates = 8;
constexpr std::size_t max_about_bytes = 16 * 1024;
constexpr const char* file_name = "saved";
constexpr const char* ignore_shared = R"({"capabilities":[{"capability":"x-ignore-shared","state":true}]})";

class OpenFile {
 public:
  OpenFile(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// The machine of a template, but for what each machine has of its own.
VmPlan template_plan(VmPlan plan) {
  plan.id = ExecutorId("template");
  plan.memory_file = VmPlan::MemoryFile{"ram", true, false};
  plan.is_shut = true;
  return plan;
}

std::string key_of(VmPlan plan) {
  plan = template_plan(std::move(plan));
  plan.user.reset();
  plan.program.clear();  // its version is compared when a clone runs
  std::string text;
  for (const std::string& word : command_line(plan)) text += word + '\0';
  for (const ImageFile& file : plan.image.files()) text += file.sha256 + '\0';
  return short_hash(text);
}

std::vector<std::string> paths_of(const VmImage& image) {
  std::vector<std::string> paths;
  for (const ImageFile& file : image.files()) paths.push_back(image.path(file));
  return paths;
}

/// What about.json says of the image's files when the template was made: path -> what it was like.
std::map<std::string, std::string> made_of(const json::Json& about) {
  std::map<std::string, std::string> out;
  const auto told = about.find("made_of");
  if (told == about.end() || !told->is_object()) return out;
  for (const auto& [path, likeness] : told->items())
    out[path] = likeness.is_string() ? likeness.get<std::string>() : "";
  return out;
}

Result<json::Json> read_about(const fs::path& place) {
  const auto text = posix_host::read_plain_file((place / "about.json").string(), max_about_bytes);
  if (!text) return text.error();
  auto about = json::parse_strict(*text);
  if (!about || !about->is_object())
    return Error::failed(ErrorCode::malformed_reply,
                         "what is known of template " + place.filename().string() + " cannot be read");
  return about;
}

/// Until the guest says that it waits.
Result<void> wait_for_guest(const std::string& socket, const posix_host::ProcessIdentity& process,
                            Instant limit) {
  const Error late =
      Error::try_again(ErrorCode::timed_out, "the template's guest did not say in time that it waits");
  while (shell::now() < limit && posix_host::is_alive(process)) {
    auto stream = posix_host::UnixStream::connect(socket);
    if (!stream) {
      std::this_thread::sleep_for(milliseconds(10));
      continue;
    }
    if (auto sent = stream->send("\n" + hello_line() + "\n", qmp_deadline); !sent) return sent;
    std::string in;
    for (;;) {
      const auto bytes = stream->receive(std::max<Duration>(limit - shell::now(), Duration::zero()));
      if (!bytes) return late;
      if (bytes->empty()) break;
      in += *bytes;
      for (std::size_t end = 0; (end = in.find('\n')) != std::string::npos; in.erase(0, end + 1)) {
        const auto word = read_guest_line(in.substr(0, end));
        const auto* hello = word ? std::get_if<GuestHello>(&*word) : nullptr;
        if (hello != nullptr && hello->waits) return {};
      }
      if (in.size() > max_guest_line) return late;
    }
  }
  if (shell::now() >= limit) return late;
  return Error::try_again(ErrorCode::unavailable, "the template's machine ended before its guest waited");
}

/// Asks again and again until `is_over` says so of the status.
template <typename IsOver>
Result<std::string> poll_status(QmpSession& session, const QmpCall& question, IsOver is_over) {
  for (;;) {
    auto answer = session.ask(question);
    if (!answer) return answer;
    auto status = read_run_state(*answer);
    if (!status) return status;
    if (is_over(*status)) return status;
    if (session.left() <= Duration::zero())
      return Error::try_again(ErrorCode::timed_out, question.name + " still says \"" + *status + "\"");
    std::this_thread::sleep_for(milliseconds(2));
  }
}

Result<void> save(const std::string& socket, const std::string& state, std::string& version) {
  const OpenFile file(state, O_RDWR | O_CREAT | O_EXCL);
  if (file.get() < 0) return Error::try_again(ErrorCode::generic, "cannot make " + state);
  const std::string name = std::string(R"({"fdname":")") + file_name + "\"}";
  const std::string uri = std::string(R"({"uri":"fd:)") + file_name + "\"}";
  auto session = QmpSession::open(socket, qmp_deadline);
  if (!session) return session.error();
  version = session->version();
  const auto begun = session->ask({{"stop", {}, -1},
                                   {"migrate-set-capabilities", ignore_shared, -1},
                                   {"getfd", name, file.get()},
                                   {"migrate", uri, -1}});
  if (!begun) return begun.error();
  const auto ended = poll_status(*session, {"query-migrate", {}, -1}, [](const std::string& status) {
    return status == "completed" || status == "failed" || status == "cancelled";
  });
  if (!ended) return ended.error();
  if (*ended != "completed") {
    const auto told = session->ask({"query-migrate", {}, -1});
    return Error::try_again(ErrorCode::generic, "QEMU could not save its state: " + (told ? *told : *ended));
  }
  const auto quit = session->ask({"quit", {}, -1});
  if (!quit) return quit.error();
  return {};
}

}  // namespace

Result<WarmTemplate> WarmTemplates::get(const VmPlan& plan) {
  const std::string key = key_of(plan);
  const std::lock_guard<std::mutex> guard(lock_);
  if (const auto failed = failures_.find(key);
      failed != failures_.end() && shell::now() < failed->second.until)
    return failed->second.error;
  failures_.erase(key);
  auto found = load(key, plan);
  if (found) return found;
  if (found.error().code != ErrorCode::not_found) {
    std::error_code ignored;
    if (auto removed = posix_host::remove_tree((options_.folder / key).string()); !removed)
      return removed.error();
  }
  auto made = make(key, plan);
  if (!made) failures_.insert_or_assign(key, Failure{made.error(), shell::now() + failure_stays});
  return made;
}

void WarmTemplates::forget(const WarmTemplate& made) {
  const std::lock_guard<std::mutex> guard(lock_);
  static_cast<void>(posix_host::remove_tree((options_.folder / made.key).string()));
}

Result<WarmTemplate> WarmTemplates::load(const std::string& key, const VmPlan& plan) {
  const fs::path place = options_.folder / key;
  const auto about = read_about(place);
  if (!about) return about.error();
  const auto like = likeness_of(paths_of(plan.image));
  if (!like) return like.error();
  if (made_of(*about) != *like)
    return Error::failed(ErrorCode::conflict, "the image of template " + key + " is not what it was");
  WarmTemplate out{
      key, (place / "ram").string(), (place / "state").string(), {}, about->value("version", std::string())};
  // Compared once, and again when a file has changed.
  VmImage files{place.string(),
                {"ram", about->value("ram", std::string())},
                {"state", about->value("state", std::string())},
                {},
                {}};
  if (!plan.image.disk.name.empty()) {
    files.disk = {overlay_file, about->value("disk", std::string())};
    out.disk = (place / overlay_file).string();
  }
  if (auto checked = files_.check("template " + key, files, digest_deadline); !checked)
    return checked.error();
  return out;
}

Result<WarmTemplate> WarmTemplates::make(const std::string& key, const VmPlan& plan) {
  if (auto made = make_private_folder(options_.folder.string()); !made) return made.error();
  const auto lock = posix_host::FileLock::acquire(options_.folder.string(), options_.boot_deadline);
  if (!lock) return lock.error();
  if (auto found = load(key, plan)) return found;  // another process made it
  if (auto ended = end_leftovers(); !ended) return ended.error();
  const fs::path place = options_.folder / "new";
  if (auto made = make_private_folder(place.string()); !made) return made.error();
  const auto like = likeness_of(paths_of(plan.image));  // before it is used
  if (!like) return like.error();
  const auto version = boot_and_save(template_plan(plan), place);
  if (!version) {
    if (auto ended = end_leftovers(); !ended) return ended.error();
    return version.error();
  }
  std::error_code ignored;
  fs::permissions(place, fs::perms::owner_all, ignored);
  json::Json about{{"version", *version}, {"made_of", *like}};
  for (const auto& [name, file] : std::vector<std::pair<std::string, std::string>>{
           {"ram", "ram"}, {"state", "state"}, {"disk", overlay_file}}) {
    if (name == "disk" && plan.image.disk.name.empty()) continue;
    std::error_code failure;
    if (plan.user && ::lchown((place / file).c_str(), ::geteuid(), ::getegid()) != 0)
      return Error::failed(ErrorCode::permission_denied, "cannot take back " + (place / file).string());
    fs::permissions(place / file, fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read,
                    failure);
    const auto digest = read_sha256((place / file).string(), digest_deadline);
    if (!digest) return digest.error();
    about[name] = *digest;
  }
  if (auto written =
          posix_host::write_file_atomically((place / "about.json").string(), json::dump(about), 0600);
      !written)
    return written.error();
  if (auto renamed = posix_host::rename_without_replacing(place.string(), (options_.folder / key).string());
      !renamed)
    return renamed.error();
  remove_oldest();
  return load(key, plan);
}

Result<std::string> WarmTemplates::boot_and_save(const VmPlan& plan, const fs::path& place) {
  if (!plan.image.disk.name.empty()) {
    const auto overlay = make_overlay(options_.image_program, plan.image.path(plan.image.disk),
                                      (place / overlay_file).string());
    if (!overlay) return overlay.error();
    if (auto given = give_overlay(place.string(), plan.user); !given) return given.error();
  }
  posix_host::LaunchRequest request;
  request.argv = command_line(plan);
  request.environment = posix_host::basic_environment();
  request.environment[options_.cookie_name] = options_.cookie_value;
  request.working_directory = place.string();
  request.output_file = (place / "qemu.log").string();
  const auto launched = posix_host::launch(request);
  if (!launched) return launched.error();
  const Instant limit = shell::now() + options_.boot_deadline;
  if (auto waits = wait_for_guest((place / control_socket).string(), *launched, limit); !waits)
    return waits.error();
  std::string version;
  if (auto saved = save((place / qmp_socket).string(), (place / "state").string(), version); !saved)
    return saved.error();
  if (!posix_host::wait_for_end(*launched, kill_deadline))
    return Error::try_again(ErrorCode::timed_out, "the template's machine does not end");
  return version;
}

Result<void> WarmTemplates::remove_leftovers() {
  const auto is_there = posix_host::is_there(options_.folder.string());
  if (!is_there || !*is_there) return {};
  const std::unique_lock<std::mutex> guard(lock_, std::try_to_lock);
  if (!guard) return {};
  const auto lock = posix_host::FileLock::acquire(options_.folder.string(), Duration::zero());
  if (!lock) return {};  // another process makes one
  if (auto ended = end_leftovers(); !ended) return ended;
  return remove_stale();
}

/// What cannot be seen stays.
Result<void> WarmTemplates::remove_stale() const {
  std::error_code failure;
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(options_.folder, failure)) all.push_back(entry.path());
  for (const fs::path& place : all) {
    const auto about = read_about(place);
    if (!about) continue;  // whoever asks for it makes it anew
    const auto was = made_of(*about);
    std::vector<std::string> paths;
    for (const auto& [path, likeness] : was) paths.push_back(path);
    const auto is = likeness_of(paths);
    const bool is_stale = is ? was.empty() || *is != was : is.error().code == ErrorCode::not_found;
    if (!is_stale) continue;
    if (auto removed = posix_host::remove_tree(place.string()); !removed) return removed;
  }
  return {};
}

Result<void> WarmTemplates::end_leftovers() {
  posix_host::ProcessMarks marks;
  marks.cookie = options_.cookie_name + "=" + options_.cookie_value;
  if (auto killed = posix_host::kill_all(marks, kill_deadline); !killed) return killed;
  return posix_host::remove_tree((options_.folder / "new").string());
}

/// Running clones keep what they have opened.
void WarmTemplates::remove_oldest() const {
  std::vector<std::pair<fs::file_time_type, fs::path>> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(options_.folder, ignored))
    all.emplace_back(fs::last_write_time(entry.path(), ignored), entry.path());
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i + most_templates < all.size(); ++i)
    static_cast<void>(posix_host::remove_tree(all[i].second.string()));
}

Result<void> resume(const std::string& socket, const WarmTemplate& from, Duration deadline) {
  const OpenFile file(from.state, O_RDONLY);
  if (file.get() < 0) return Error::try_again(ErrorCode::not_found, "cannot open " + from.state);
  const std::string name = std::string(R"({"fdname":")") + file_name + "\"}";
  const std::string uri = std::string(R"({"uri":"fd:)") + file_name + "\"}";
  auto session = QmpSession::open(socket, deadline);
  if (!session) return session.error();
  if (session->version() != from.version) {
    return Error::try_again(ErrorCode::conflict, "its template was saved by QEMU " + from.version +
                                                     ", and this is " + session->version());
  }
  const auto begun = session->ask({{"migrate-set-capabilities", ignore_shared, -1},
                                   {"getfd", name, file.get()},
                                   {"migrate-incoming", uri, -1}});
  if (!begun) return begun.error();
  const auto read = poll_status(*session, {"query-status", {}, -1},
                                [](const std::string& status) { return status != "inmigrate"; });
  if (!read) return read.error();
  if (*read != "paused")
    return Error::try_again(ErrorCode::generic, "the clone is " + *read + " after its state was read");
  const auto runs = session->ask({"cont", {}, -1});
  if (!runs) return runs.error();
  return {};
}

}  // namespace skep::drivers::qemu
