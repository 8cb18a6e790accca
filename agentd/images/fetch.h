// One try at one image: fetch its files, prove them, unpack, and put the whole into `ready`. Blocking.
//
// On an error nothing of it is in `ready`. What may be gone on with stays in `making`: files that were
// proven, and one .part with its ETag. A part that proves wrong goes, and so does everything when the disk is
// full. Not thread-safe but for cancel().
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "agentd/images/store_layout.h"
#include "common/http/download.h"

namespace skep::agentd::images {

struct Progress {
  std::uint64_t done_bytes = 0;      // of all files, resumed ones included
  std::uint64_t received_bytes = 0;  // since the last call
};

class Fetch {
 public:
  Fetch(StoreLayout layout, FetchConfig config, CatalogueEntry entry,
        std::function<void(const Progress&)> on_progress);

  /// Bytes on disk.
  Result<std::uint64_t> run();
  std::uint64_t part_bytes() const;
  /// Any thread: run() ends with try_again/unavailable.
  void cancel();

 private:
  Result<void> prepare();
  Result<void> fetch_file(const ImageFile& file);
  /// True: whole and proven. False: what was there was of no use, and is gone.
  Result<bool> fetch_part(const ImageFile& file, bool is_last_try);
  Result<Manifest> finish_content();
  void report(std::uint64_t received);
  std::filesystem::path making() const { return layout_.making(copy_name(entry_)); }
  std::filesystem::path files() const { return making() / StoreLayout::files_folder; }

  StoreLayout layout_;
  FetchConfig config_;
  CatalogueEntry entry_;
  std::function<void(const Progress&)> on_progress_;
  std::atomic<bool> is_cancelled_{false};
  std::mutex lock_;  // guards download_
  std::unique_ptr<http::Download> download_;
  std::uint64_t done_before_ = 0;  // bytes of the files before the one under way
  std::uint64_t done_now_ = 0;
};

}  // namespace skep::agentd::images
