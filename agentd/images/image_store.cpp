#include "agentd/images/image_store.h"

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <utility>

#include "agentd/images/content.h"
#include "agentd/images/fetch.h"
#include "common/log/log.h"
#include "common/shell/clock.h"
#include "common/shell/worker_pool.h"
#include "core/nearest_name.h"
#include "linux/linux_files.h"
#include "linux/linux_growing_file.h"

namespace skep::agentd::images {
namespace {

namespace fs = std::filesystem;

constexpr Duration progress_pause = milliseconds(200);
constexpr Duration lock_limit = seconds(2);  // of a process that is just ending

Format format_of(drivers::ImageFormat format) {
  switch (format) {
    case drivers::ImageFormat::directory_tar:
      return Format::directory_tar;
    case drivers::ImageFormat::vm:
      return Format::vm;
    case drivers::ImageFormat::container:
      return Format::container;
  }
  return Format::directory_tar;
}

Error is_ending() {
  return Error::try_again(ErrorCode::unavailable, "the image store is ending or has too much to do");
}

log::Level level_of(Level level) {
  return level == Level::debug     ? log::Level::debug
         : level == Level::info    ? log::Level::info
         : level == Level::warning ? log::Level::warning
                                   : log::Level::error;
}

}  // namespace

/// What a worker counts and the strand reads.
struct Meter {
  std::atomic<std::uint64_t> done_bytes{0}, received_bytes{0};
};

struct ImageStore::Impl {
  Impl(ImagesConfig c, ImagePatience patience, StoreLayout l, posix_host::FileLock held)
      : config(c),
        layout(std::move(l)),
        lock(std::move(held)),
        logic(std::move(c), std::random_device{}(), patience),
        pool("agentd-images", config.fetch.parallel + 2),
        strand(
            "agentd-images", [this] { return logic.next_deadline(); }, [this] { handle(ImageTick{}); }) {}

  void handle(const ImageEvent& event) {
    for (const ImageAction& action : logic.handle(event, shell::now(), shell::wall_now()))
      std::visit([this](const auto& each) { carry_out(each); }, action);
  }
  bool post(ImageEvent event) {
    return strand.post([this, event = std::move(event)] { handle(event); });
  }

  void carry_out(const Explain& line) { log::write(level_of(line.level), line.message, line.fields); }
  void carry_out(const TellChange&) {
    if (listener) listener();
  }

  void carry_out(const FetchCopy& action) {
    const std::string copy = copy_name(action.entry);
    const auto meter = std::make_shared<Meter>();
    meters[copy] = meter;
    // Told from time to time, and whenever somebody asks: a peer that falls silent tells nothing.
    const auto on_progress = [this, copy, meter, last = shell::now()](const Progress& progress) mutable {
      meter->done_bytes = progress.done_bytes;
      meter->received_bytes += progress.received_bytes;
      if (shell::now() - last < progress_pause) return;
      last = shell::now();
      static_cast<void>(strand.post([this, copy] { read_meter(copy); }));
    };
    const auto fetch = std::make_shared<Fetch>(layout, config.fetch, action.entry, on_progress);
    const bool is_taken = pool.submit([this, fetch, copy] {
      {
        const std::lock_guard<std::mutex> guard(fetches_lock);
        if (is_stopping) fetch->cancel();
        fetches.insert(fetch);
      }
      const auto bytes = fetch->run();
      {
        const std::lock_guard<std::mutex> guard(fetches_lock);
        fetches.erase(fetch);
      }
      if (bytes) write_times(layout.ready(copy), {shell::wall_now(), shell::wall_now()});
      end_fetch({copy, bytes, bytes ? 0 : fetch->part_bytes()});
    });
    if (!is_taken) end_fetch({copy, is_ending(), 0});
  }

  void end_fetch(FetchEnded event) {
    if (is_stopping) return;
    const bool is_posted = strand.post([this, event = std::move(event)] {
      read_meter(event.copy);
      meters.erase(event.copy);
      handle(event);
    });
    if (!is_posted) say_lost();
  }

  void read_meter(const std::string& copy) {
    const auto running = meters.find(copy);
    if (running == meters.end()) return;
    Meter& meter = *running->second;
    handle(FetchProgressed{copy, meter.done_bytes, meter.received_bytes.exchange(0)});
  }

  StoreStatus status() {
    std::vector<std::string> running;
    for (const auto& [copy, meter] : meters) running.push_back(copy);
    for (const std::string& copy : running) read_meter(copy);
    StoreStatus all{logic.status(shell::now()), logic.counters(), logic.used_bytes(), logic.max_bytes(),
                    layout.root.string()};
    for (ImageStatus& image : all.images) {
      const auto told = words_of_drivers.find(image.copy);
      if (told == words_of_drivers.end() || image.references.empty()) continue;
      image.references.clear();
      if (image.problem.empty()) image.problem = told->second;
    }
    return all;
  }

  Result<std::vector<drivers::StoredImage>> stored(Format format) const {
    if (!logic.is_read())
      return Error::try_again(ErrorCode::unavailable, "the folder of images was not read yet");
    std::set<std::string> held;
    for (const auto& [executor, copy] : logic.holds()) held.insert(copy);
    std::vector<drivers::StoredImage> all;
    for (const ImageStatus& image : logic.status(shell::now())) {
      drivers::StoredImage each{image.copy, image.references, held.count(image.copy) > 0, {}};
      const bool is_of_format = image.format.empty() || image.format == to_string(format);
      if (!is_of_format || (each.references.empty() && !each.is_held)) continue;
      if (!each.references.empty()) each.content = shown(image.copy, image.references.front(), format);
      all.push_back(std::move(each));
    }
    return all;
  }

  void tell(const std::string& copy, const std::string& problem) {
    const auto told = words_of_drivers.find(copy);
    const bool was_problem = told != words_of_drivers.end();
    if (problem.empty())
      words_of_drivers.erase(copy);
    else
      words_of_drivers[copy] = problem;
    if (was_problem == problem.empty() && listener) listener();
  }

  void carry_out(const VerifyCopy& action) {
    const bool is_taken = pool.submit([this, copy = action.copy] {
      const auto result = verify_copy(layout.ready(copy), [this] { return is_stopping.load(); });
      if (result) {
        CopyTimes times = read_times(layout.ready(copy));
        times.verified_at = shell::wall_now();
        write_times(layout.ready(copy), times);
      }
      answer(VerifyEnded{copy, result});
    });
    if (!is_taken) answer(VerifyEnded{action.copy, is_ending()});
  }

  void carry_out(const RemoveCopy& action) {
    const bool is_taken = pool.submit([this, copy = action.copy] {
      answer(RemoveEnded{copy, remove(copy)});
    });
    if (!is_taken) answer(RemoveEnded{action.copy, is_ending()});
  }

  /// Out of `ready` at once, so that no half copy is ever found there.
  Result<void> remove(const std::string& copy) const {
    // A name of its own: one of an earlier life may still be on its way out.
    const std::string leaving =
        layout.leaving(copy + "." + std::to_string(shell::wall_now().ms_since_epoch)).string();
    if (auto renamed = posix_host::rename_without_replacing(layout.ready(copy).string(), leaving);
        !renamed && renamed.error().code != ErrorCode::not_found)
      return renamed;
    return posix_host::remove_tree(leaving);
  }

  /// Of a worker, and of the strand itself while the pool is full: not in the midst of a list of actions.
  void answer(ImageEvent event) {
    if (is_stopping) return;  // what was stopped has not failed
    if (!post(std::move(event))) say_lost();
  }
  void say_lost() const {
    if (!is_stopping) log::write(log::Level::error, "the image store has too much to do: an answer was lost");
  }

  /// Runs on the strand, for a caller that waits.
  template <typename T>
  Result<T> ask(std::function<Result<T>()> work) {
    auto promise = std::make_shared<std::promise<Result<T>>>();
    auto answer = promise->get_future();
    if (!strand.post([promise, work = std::move(work)] { promise->set_value(work()); })) return is_ending();
    return answer.get();
  }

  Result<drivers::HeldImage> hold(const std::string& image, Format format, const ExecutorId& executor) {
    const auto held = logic.holds().find(executor);
    auto copy = logic.decide_hold(image, format);
    if (held != logic.holds().end()) {
      const CatalogueEntry* entry = find(logic.catalogue(), image);
      if (entry == nullptr || copy_name(*entry) != held->second)
        return Error::failed(ErrorCode::conflict,
                             "executor " + executor.text + " is made from " + held->second + " already");
      copy = held->second;
    }
    if (!copy) return copy.error();
    if (held == logic.holds().end()) {
      if (auto written = posix_host::write_file_durably(layout.hold(executor).string(), *copy, 0600);
          !written)
        return written.error();
      CopyTimes times = read_times(layout.ready(*copy));
      times.used_at = shell::wall_now();
      write_times(layout.ready(*copy), times);
      handle(HoldMade{*copy, executor});
    }
    return shown(*copy, image, format);
  }

  drivers::HeldImage shown(const std::string& copy, const std::string& image, Format format) const {
    const CatalogueEntry& entry = *find(logic.catalogue(), image);
    drivers::HeldImage out{content_of(layout.ready(copy), format).string(), entry.digest, {}};
    if (format == Format::directory_tar) return out;
    for (const ImageFile& file : entry.files) out.files[file.name] = file.sha256;
    return out;
  }

  Result<void> release(const ExecutorId& executor) {
    if (logic.holds().count(executor) == 0) return {};
    if (auto removed = posix_host::remove_tree(layout.hold(executor).string()); !removed) return removed;
    handle(HoldReleased{executor});
    return {};
  }

  void keep_holds_of(const std::set<ExecutorId>& executors) {
    std::set<ExecutorId> unknown;
    for (const auto& [executor, copy] : logic.holds()) {
      if (executors.count(executor) == 0) unknown.insert(executor);
    }
    for (const ExecutorId& executor : unknown) {
      if (suspects.count(executor) == 0) continue;
      log::write(log::Level::info, "an image is held no more: its executor does not exist",
                 {{"executor", executor.text}});
      if (auto released = release(executor); !released)
        log::write_error("a hold was not removed", released.error());
    }
    suspects = std::move(unknown);
  }

  Result<ImageStatus> status_of(const std::string& reference) const {
    const CatalogueEntry* entry = find(logic.catalogue(), reference);
    if (entry != nullptr) {
      for (ImageStatus& status : logic.status(shell::now())) {
        if (status.copy == copy_name(*entry)) return std::move(status);
      }
    }
    std::vector<std::string> known;
    for (const CatalogueEntry& each : logic.catalogue()) known.push_back(full_name(each));
    const std::string nearest = nearest_name(reference, known);
    return Error::failed(
        ErrorCode::not_found, "image \"" + reference.substr(0, 120) + "\" is not in this host's catalogue",
        nearest.empty() ? "skep images list shows what is" : "did you mean " + nearest + "?");
  }

  ImagesConfig config;
  StoreLayout layout;
  posix_host::FileLock lock;
  std::function<void()> listener;
  StoreRead found;
  std::vector<fs::path> left_over;

  std::atomic<bool> is_stopping{false};
  std::mutex fetches_lock;  // guards fetches
  std::set<std::shared_ptr<Fetch>> fetches;

  // Touched on the strand only.
  ImageLogic logic;
  std::set<ExecutorId> suspects;
  std::map<std::string, std::string> words_of_drivers;   // by copy: why a driver does not start it yet
  std::map<std::string, std::shared_ptr<Meter>> meters;  // of the fetches under way, by copy

  shell::WorkerPool pool;
  shell::Strand strand;
};

Result<std::unique_ptr<ImageStore>> ImageStore::open(ImagesConfig config, ImagePatience patience) {
  std::error_code failure;
  StoreLayout layout{fs::weakly_canonical(fs::absolute(config.folder, failure), failure)};
  if (failure || config.folder.empty())
    return Error::failed(ErrorCode::invalid_input, "\"" + config.folder + "\" cannot be a folder for images");
  if (auto made = make_folders(layout); !made) return made.error();
  if (auto opened = posix_host::GrowingFile::open(layout.lock().string()); !opened) return opened.error();
  auto lock = posix_host::FileLock::acquire(layout.lock().string(), lock_limit);
  if (!lock)
    return Error::failed(ErrorCode::conflict,
                         "the image folder " + layout.root.string() + " is in use: " + lock.error().message,
                         "another skep-agentd has it; give each a folder of its own");
  for (CatalogueEntry& entry : config.catalogue) entry.digest = digest_of(entry.format, entry.files);
  auto found = read_store(layout);
  if (!found) return found.error();
  auto impl = std::make_unique<Impl>(std::move(config), patience, std::move(layout), std::move(*lock));
  impl->found = std::move(*found);
  impl->left_over = leftovers(impl->layout, impl->config.catalogue);
  return std::unique_ptr<ImageStore>(new ImageStore(std::move(impl)));
}

ImageStore::ImageStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ImageStore::~ImageStore() {
  stop();
}

void ImageStore::start() {
  Impl& impl = *impl_;
  impl.strand.start();
  impl.answer(impl.found);
  const bool is_taken = impl.pool.submit([&impl] {
    for (const fs::path& folder : impl.left_over) {
      if (auto removed = posix_host::remove_tree(folder.string()); !removed)
        log::write_error("what is left of an image was not removed", removed.error());
    }
  });
  if (!is_taken) log::write(log::Level::warning, "what is left of images is removed at the next start");
}

void ImageStore::stop() {
  Impl& impl = *impl_;
  impl.is_stopping = true;
  {
    const std::lock_guard<std::mutex> guard(impl.fetches_lock);
    for (const auto& fetch : impl.fetches) fetch->cancel();
  }
  impl.pool.stop();
  impl.strand.stop();
}

void ImageStore::set_change_listener(std::function<void()> listener) {
  impl_->listener = std::move(listener);
}

std::vector<std::string> ImageStore::ready_images(drivers::ImageFormat format) {
  auto names = impl_->ask<std::vector<std::string>>(
      [impl = impl_.get(), format] { return impl->logic.ready(format_of(format)); });
  return names ? *names : std::vector<std::string>{};
}

Result<drivers::HeldImage> ImageStore::look_at(const std::string& image, drivers::ImageFormat format) {
  return impl_->ask<drivers::HeldImage>([impl = impl_.get(), image, format]() -> Result<drivers::HeldImage> {
    const auto copy = impl->logic.decide_hold(image, format_of(format));
    if (!copy) return copy.error();
    return impl->shown(*copy, image, format_of(format));
  });
}

Result<drivers::HeldImage> ImageStore::hold(const std::string& image, drivers::ImageFormat format,
                                            const ExecutorId& executor) {
  return impl_->ask<drivers::HeldImage>([impl = impl_.get(), image, format, executor] {
    return impl->hold(image, format_of(format), executor);
  });
}

Result<void> ImageStore::release(const ExecutorId& executor) {
  return impl_->ask<void>([impl = impl_.get(), executor] { return impl->release(executor); });
}

Result<std::vector<drivers::StoredImage>> ImageStore::stored_images(drivers::ImageFormat format) {
  return impl_->ask<std::vector<drivers::StoredImage>>(
      [impl = impl_.get(), format] { return impl->stored(format_of(format)); });
}

void ImageStore::tell(const std::string& copy, const std::string& problem) {
  // A full strand: drivers say it again.
  static_cast<void>(impl_->strand.post([impl = impl_.get(), copy, problem] { impl->tell(copy, problem); }));
}

void ImageStore::forget(const ExecutorId& executor) {
  // A full strand: keep_holds_of() comes.
  static_cast<void>(impl_->strand.post([impl = impl_.get(), executor] {
    if (auto released = impl->release(executor); !released)
      log::write_error("a hold was not removed", released.error());
  }));
}

void ImageStore::keep_holds_of(std::set<ExecutorId> executors) {
  // A full strand: the next list comes.
  static_cast<void>(impl_->strand.post(
      [impl = impl_.get(), executors = std::move(executors)] { impl->keep_holds_of(executors); }));
}

void ImageStore::status(std::function<void(Result<StoreStatus>)> respond) {
  const bool is_posted = impl_->strand.post([impl = impl_.get(), respond] { respond(impl->status()); });
  if (!is_posted) respond(is_ending());
}

void ImageStore::pull(const std::string& image, std::function<void(Result<ImageStatus>)> respond) {
  const bool is_posted = impl_->strand.post([impl = impl_.get(), image, respond] {
    auto status = impl->status_of(image);
    if (status) {
      impl->handle(PullAsked{status->copy});
      status = impl->status_of(image);
    }
    respond(std::move(status));
  });
  if (!is_posted) respond(is_ending());
}

void ImageStore::verify(const std::string& image, std::function<void(Result<ImageStatus>)> respond) {
  const bool is_posted = impl_->strand.post([impl = impl_.get(), image, respond] {
    auto status = impl->status_of(image);
    if (!status) return respond(std::move(status));
    if (status->references.empty())
      return respond(Error::failed(
          ErrorCode::conflict,
          "image \"" + image + "\" cannot be verified: it is " + std::string(to_string(status->state)),
          "skep images pull it first"));
    impl->handle(VerifyAsked{status->copy});
    respond(impl->status_of(image));
  });
  if (!is_posted) respond(is_ending());
}

}  // namespace skep::agentd::images
