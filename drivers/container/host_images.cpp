#include "drivers/container/host_images.h"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "common/archive/tar_copy.h"
#include "common/digest/sha256.h"
#include "common/log/log.h"
#include "common/shell/clock.h"
#include "core/resources.h"
#include "drivers/container/archive_texts.h"
#include "drivers/container/image_plan.h"
#include "linux/linux_files.h"

namespace skep::drivers::container {
namespace {

namespace fs = std::filesystem;

constexpr Duration retry_first = seconds(5), retry_last = minutes(10), hopeless_last = hours(6);
constexpr Duration tell_every = seconds(2);
constexpr std::size_t max_record_bytes = 4096;
constexpr const char* being_loaded = "the container engine is loading it";

Error about(const std::string& what, Error error) {
  error.message = what + ": " + error.message;
  return error;
}

/// "base@2" of "base@2-1f2d3c4b5a69", for people.
std::string shown_name(const std::string& copy) {
  return copy.substr(0, copy.rfind('-'));
}

std::string percent_of(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(whole == 0 ? 0 : std::min<std::uint64_t>(100, part * 100 / whole)) + " %";
}

}  // namespace

struct HostImages::Impl {
  /// Why the last try failed, and when the next is due.
  struct Trouble {
    std::string digest;
    Error error;
    int attempts = 0;
    Instant retry_at;
  };
  struct Look {
    ImageFactsOfHost facts;
    std::map<std::string, StoredImage> stored;  // by copy
  };

  Impl(const ContainerDriverOptions& o, Engine& e, std::string f)
      : options(o), engine(e), folder(std::move(f)) {}

  // -- what there is
  std::string record_file(const std::string& copy) const { return (folder / copy).string(); }

  Result<std::map<std::string, LoadRecord>> records() const {
    std::map<std::string, LoadRecord> all;
    std::error_code failure;
    for (auto entry = fs::directory_iterator(folder, failure); !failure && entry != fs::directory_iterator();
         entry.increment(failure)) {
      const std::string copy = entry->path().filename().string();
      if (copy.find('@') == std::string::npos) continue;
      const auto text = posix_host::read_plain_file(record_file(copy), max_record_bytes);
      if (!text) return about("cannot read what was loaded", text.error());
      const auto record = decode_record(*text);
      if (record) all[copy] = *record;  // of no use: it is loaded again, and its tag goes when it must
    }
    if (failure && failure != std::errc::no_such_file_or_directory)
      return Error::try_again(ErrorCode::generic,
                              "cannot read " + folder.string() + ": " + failure.message());
    return all;
  }

  Result<std::map<std::string, StoredImage>> stored() const {
    std::map<std::string, StoredImage> all;
    if (options.image_source == nullptr) return all;
    auto list = options.image_source->stored_images(ImageFormat::container);
    if (!list) return list.error();
    for (StoredImage& each : *list) all[each.copy] = std::move(each);
    return all;
  }

  Result<Look> look(std::map<std::string, StoredImage> images) {
    Look out;
    out.stored = std::move(images);
    out.facts.owner = options.owner_tag;
    for (const auto& [copy, image] : out.stored)
      out.facts.copies.push_back({copy, image.content.digest, !image.references.empty(), image.is_held});
    auto known = records();
    if (!known) return known.error();
    out.facts.records = std::move(*known);
    const auto seen = engine.images();
    if (!seen) return seen.error();
    for (const ListedImage& each : *seen)
      out.facts.engine.push_back({each.id, {each.tags.begin(), each.tags.end()}, !each.digests.empty()});
    return out;
  }

  // -- the thread
  void run() {
    log::OncePerMinute told;
    while (!is_over()) {
      const Instant until = pass(told);
      std::unique_lock<std::mutex> guard(lock);
      changed.wait_for(guard, std::max(Duration::zero(), until - shell::now()),
                       [this] { return is_stopping || is_poked; });
      is_poked = false;
    }
  }

  bool is_over() {
    const std::lock_guard<std::mutex> guard(lock);
    return is_stopping;
  }

  void poke() {
    {
      const std::lock_guard<std::mutex> guard(lock);
      is_poked = true;
    }
    changed.notify_all();
  }

  void warn(log::OncePerMinute& told, const std::string& what, const Error& error) {
    std::uint64_t held_back = 0;
    if (told.allows(what, shell::now(), held_back)) log::write_error(what, error);
  }

  /// Brings the engine nearer to what it should have; when to look again.
  Instant pass(log::OncePerMinute& told) {
    const Instant next = shell::now() + options.look_every;
    auto images = stored();
    if (!images) {
      warn(told, "the images of this host are not known", images.error());
      return next;
    }
    const auto seen = look(*images);
    if (!seen) {
      for (const auto& [copy, image] : *images) {
        if (!image.references.empty()) tell(copy, "not loaded: " + seen.error().message);
      }
      if (!images->empty()) warn(told, "the container engine's images are not known", seen.error());
      return std::min(next, shell::now() + retry_first);
    }
    const ImagePlan plan = plan_images(seen->facts);
    for (const std::string& copy : plan.ready) end_trouble(copy);
    clean_up(plan, told);
    return std::min(next, load_what_is_due(*seen, plan));
  }

  void clean_up(const ImagePlan& plan, log::OncePerMinute& told) {
    for (const auto& [tag, id] : plan.names_to_give) {
      if (auto given = engine.give_tag(id, tag); !given)
        warn(told, "an image that was half loaded is not removed yet", given.error());
      else
        poke();
    }
    for (const std::string& tag : plan.tags_to_remove) {
      if (auto removed = engine.remove_tag(tag); !removed) {
        warn(told, "an image is not removed from the container engine yet", removed.error());
        continue;
      }
      log::write(log::Level::info, "an image was removed from the container engine", {{"image", tag}});
      poke();  // its record goes when it is seen gone
    }
    for (const std::string& copy : plan.records_to_forget) {
      std::error_code ignored;
      fs::remove(record_file(copy), ignored);
      end_trouble(copy);
    }
  }

  /// When the next load is due.
  Instant load_what_is_due(const Look& seen, const ImagePlan& plan) {
    Instant next = shell::now() + options.look_every;
    for (const std::string& copy : plan.load) {
      const StoredImage& image = seen.stored.at(copy);
      if (const auto trouble = trouble_of(copy); trouble && trouble->digest == image.content.digest) {
        tell(copy, "not loaded: " + trouble->error.message);
        if (trouble->retry_at > shell::now()) {
          next = std::min(next, trouble->retry_at);
          continue;
        }
      }
      if (is_over()) return next;
      tell(copy, being_loaded);
      set_progress(copy, being_loaded);
      const Instant begin = shell::now();
      const auto loaded = load(copy, image, seen.facts);
      set_progress(copy, {});
      if (is_over()) return next;
      if (!loaded) {
        begin_trouble(copy, image.content.digest, loaded.error());
        continue;
      }
      log::write(log::Level::info, "an image was loaded into the container engine",
                 {{"image", shown_name(copy)},
                  {"id", *loaded},
                  {"took_ms", std::to_string(to_ms(shell::now() - begin))}});
      end_trouble(copy);
    }
    return next;
  }

  // -- one load
  Result<std::string> load(const std::string& copy, const StoredImage& image, const ImageFactsOfHost& facts) {
    if (image.content.files.size() != 1)
      return Error::failed(ErrorCode::invalid_input,
                           "it is " + std::to_string(image.content.files.size()) + " files, not one archive");
    const std::string file = image.content.folder + "/" + image.content.files.begin()->first;
    archive::TarLimits limits;
    limits.is_cancelled = [this] { return is_over(); };
    auto content = archive::read_tar(file, limits);
    if (!content) return content.error();
    const auto archive = read_archive({std::move(content->names), content->texts});
    if (!archive) return archive.error();
    const auto facts_of_engine = engine.version();
    if (!facts_of_engine) return facts_of_engine.error();
    if (auto fits = check_platform(*archive, facts_of_engine->architecture, facts_of_engine->os); !fits)
      return fits.error();
    const LoadRecord record =
        plan_record(facts, copy, image.content.digest,
                    "sha256:" + digest::sha256_hex(content->texts.at(archive->configuration)));
    if (auto noted = note(copy, record); !noted) return noted.error();
    if (auto sent = send(copy, file, *archive, content->bytes); !sent) return sent.error();
    const std::string tag = tag_of(options.owner_tag, copy);
    const auto seen = engine.image(tag);
    if (!seen && seen.error().code != ErrorCode::not_found) return seen.error();
    if (!seen)
      return Error::try_again(
          ErrorCode::malformed_reply,
          "the container engine says that it loaded it, and does not have it: " + seen.error().message);
    if (seen->id != record.id)
      return Error::failed(ErrorCode::malformed_reply, "the container engine made it " + seen->id +
                                                           ", and its archive says " + record.id);
    return record.id;
  }

  Result<void> note(const std::string& copy, const LoadRecord& record) const {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure)
      return Error::try_again(ErrorCode::generic,
                              "cannot make " + folder.string() + ": " + failure.message());
    return posix_host::write_file_durably(record_file(copy), encode(record), 0600);
  }

  Result<void> send(const std::string& copy, const std::string& file, const ImageArchive& archive,
                    std::uint64_t total) {
    archive::TarCopy tar(file, {{"manifest.json", manifest_of(archive, tag_of(options.owner_tag, copy))}},
                         names_to_leave_out());
    http::UnixUpload request(engine.load_options(options.load_deadline));
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (is_stopping) request.cancel();
      upload = &request;
    }
    std::uint64_t sent = 0;
    Instant told = shell::now();
    auto loaded = engine.load(request, shown_name(copy), [&]() -> Result<std::string> {
      auto piece = tar.next();
      if (!piece) return piece;
      sent += piece->size();
      if (shell::now() - told < tell_every) return piece;
      told = shell::now();
      const std::string text = std::string(being_loaded) + ", " + percent_of(sent, total);
      set_progress(copy, text);
      tell(copy, text);
      return piece;
    });
    const std::lock_guard<std::mutex> guard(lock);
    upload = nullptr;
    return loaded;
  }

  // -- what is told
  void tell(const std::string& copy, const std::string& problem) const {
    if (options.image_source != nullptr) options.image_source->tell(copy, problem);
  }

  std::optional<Trouble> trouble_of(const std::string& copy) {
    const std::lock_guard<std::mutex> guard(lock);
    const auto found = troubles.find(copy);
    return found == troubles.end() ? std::nullopt : std::optional(found->second);
  }

  void begin_trouble(const std::string& copy, const std::string& digest, const Error& error) {
    Duration pause{};
    {
      const std::lock_guard<std::mutex> guard(lock);
      Trouble& trouble = troubles[copy];
      if (trouble.digest != digest) trouble = {};
      trouble.digest = digest;
      trouble.error = error;
      const bool is_hopeful = error.outcome != Outcome::failed;
      pause = is_hopeful ? retry_first : retry_last;
      const Duration longest = is_hopeful ? retry_last : hopeless_last;
      for (int i = 0; i < trouble.attempts && pause < longest; ++i) pause *= 2;
      pause = std::min(pause, longest);
      ++trouble.attempts;
      trouble.retry_at = shell::now() + pause;
    }
    log::write_error("image " + shown_name(copy) +
                         " was not loaded into the container engine; it is tried again in " +
                         duration_to_text(pause),
                     error);
    tell(copy, "not loaded: " + error.message);
    poke();  // what a load left is looked for at once
  }

  void end_trouble(const std::string& copy) {
    {
      const std::lock_guard<std::mutex> guard(lock);
      troubles.erase(copy);
    }
    tell(copy, {});
  }

  void set_progress(const std::string& copy, const std::string& text) {
    const std::lock_guard<std::mutex> guard(lock);
    if (text.empty())
      progress.erase(copy);
    else
      progress[copy] = text;
  }

  std::string why_absent(const std::string& copy) {
    const std::lock_guard<std::mutex> guard(lock);
    if (const auto found = progress.find(copy); found != progress.end()) return found->second;
    if (const auto found = troubles.find(copy); found != troubles.end())
      return "it was not loaded into the container engine: " + found->second.error.message;
    return "it is not in the container engine, into which it is loaded now";
  }

  Result<ImageFacts> look_at(const std::string& image) {
    const std::string& reference = options.images.at(image);
    auto facts = engine.image(reference);
    if (!facts && facts.error().code == ErrorCode::not_found) {
      return Error::failed(ErrorCode::not_found,
                           "image \"" + image + "\" (" + reference + ") is not in the container engine",
                           "load or pull it there, or list it in images.catalogue");
    }
    if (!facts || is_image(*facts, reference)) return facts;
    return Error::failed(ErrorCode::conflict, "image \"" + image + "\" is to be " + reference +
                                                  ", and the container engine shows another: " + facts->id);
  }

  Result<ImageFacts> held_image(const std::string& image, const ExecutorId& executor) {
    const auto held = options.image_source->hold(image, ImageFormat::container, executor);
    if (!held) return held.error();
    const auto known = records();
    if (!known) return known.error();
    const auto images = stored();
    if (!images) return images.error();
    std::string copy;
    for (const auto& [name, each] : *images) {
      if (each.content.digest == held->digest) copy = name;
    }
    const auto record = known->find(copy);
    if (record != known->end() && record->second.digest == held->digest) {
      auto facts = engine.image(record->second.id);
      if (!facts && facts.error().code != ErrorCode::not_found) return facts;
      if (facts && facts->id == record->second.id) return facts;
    }
    poke();
    return Error::try_again(ErrorCode::unavailable,
                            "image \"" + image + "\" cannot be started yet: " + why_absent(copy));
  }

  const ContainerDriverOptions options;
  Engine& engine;
  const fs::path folder;
  std::mutex lock;  // guards all below but the thread
  bool is_stopping = false, is_poked = false;
  http::UnixUpload* upload = nullptr;
  std::map<std::string, Trouble> troubles;      // by copy
  std::map<std::string, std::string> progress;  // by copy
  std::condition_variable changed;
  std::once_flag begun;
  std::thread thread;
};

HostImages::HostImages(const ContainerDriverOptions& options, Engine& engine, std::string folder)
    : impl_(std::make_unique<Impl>(options, engine, std::move(folder))) {}

HostImages::~HostImages() {
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    impl_->is_stopping = true;
    if (impl_->upload != nullptr) impl_->upload->cancel();
  }
  impl_->changed.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::string HostImages::problem_of(const ContainerDriverOptions& options) {
  for (const auto& [name, reference] : options.images) {
    if (!is_by_digest(reference))
      return "image \"" + name + "\" is \"" + reference +
             "\", which is no digest (sha256:... or name@sha256:...)";
  }
  return {};
}

void HostImages::probe(ProbeReport& report) {
  Impl& impl = *impl_;
  for (const auto& [image, reference] : impl.options.images) {
    const auto facts = impl.look_at(image);
    if (facts)
      report.images.push_back(image);
    else
      report.detail += "; " + facts.error().message;
  }
  std::error_code failure;
  // Without a catalogue, what one of earlier times left is taken out of the engine.
  if (impl.options.image_source == nullptr && !fs::exists(impl.folder, failure)) return;
  std::call_once(impl.begun, [&impl] { impl.thread = std::thread([&impl] { impl.run(); }); });
  const auto images = impl.stored();
  const auto seen = images ? impl.look(*images) : images.error();
  if (!seen) {
    report.detail += "; " + seen.error().message;
    return;
  }
  const ImagePlan plan = plan_images(seen->facts);
  for (const std::string& copy : plan.ready) {
    for (const std::string& name : seen->stored.at(copy).references) report.images.push_back(name);
  }
  for (const std::string& copy : plan.load)
    report.detail += "; image " + shown_name(copy) + ": " + impl.why_absent(copy);
  const bool is_done = plan.load.empty() && plan.tags_to_remove.empty() && plan.names_to_give.empty() &&
                       plan.records_to_forget.empty();
  if (!is_done) impl.poke();
}

Result<void> HostImages::check(const StartRequest& request) const {
  const ContainerDriverOptions& options = impl_->options;
  const std::string& image = request.spec.image;
  if (options.images.count(image) > 0) return {};
  if (!image.empty() && options.image_source != nullptr) return {};  // it is asked for a hold
  if (image.empty() && options.images.size() == 1) return {};
  if (image.empty()) {
    return Error::failed(ErrorCode::invalid_input,
                         "the template of executor " + request.spec.id.text + " names no image",
                         "name one of drivers.container.images or of the catalogue");
  }
  return Error::failed(ErrorCode::not_found, "image \"" + image + "\" is not on this host",
                       "add it to drivers.container.images or to images.catalogue");
}

Result<ImageFacts> HostImages::image_for(const StartRequest& request) {
  if (auto checked = check(request); !checked) return checked.error();
  const std::string& image = request.spec.image;
  if (image.empty()) return impl_->look_at(impl_->options.images.begin()->first);
  if (impl_->options.images.count(image) > 0) return impl_->look_at(image);
  return impl_->held_image(image, request.spec.id);
}

Result<void> HostImages::release(const ExecutorId& executor) {
  if (impl_->options.image_source == nullptr) return {};
  auto released = impl_->options.image_source->release(executor);
  impl_->poke();  // it may have been the last that kept an image
  return released;
}

void HostImages::look_again() {
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    for (auto& [copy, trouble] : impl_->troubles) {
      if (trouble.error.outcome != Outcome::failed) trouble.retry_at = shell::now();
    }
  }
  impl_->poke();
}

}  // namespace skep::drivers::container
