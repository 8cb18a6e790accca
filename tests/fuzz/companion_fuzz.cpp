// Both parsers on the same bytes, and what they accept through the book.
#include "scheduler/jenkins/companion.h"

#include "core/bounds.h"
#include "tests/fuzz/fuzz.h"

using namespace skep;
using namespace skep::scheduler;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  const auto base = read_companion_base(text);
  CompanionBook book;
  if (base) {
    SKEP_ASSERT(!base->boot.empty() && base->next > 0 && base->items.size() <= bounds::max_queue_items);
    book.begin(*base, WallTime{1});
    SKEP_ASSERT(book.queue().items.size() == base->items.size());
  } else {
    SKEP_ASSERT(base.error().outcome == Outcome::unknown);
  }
  const auto news = read_companion_news(text);
  if (!news) {
    SKEP_ASSERT(news.error().outcome == Outcome::unknown);
    return 0;
  }
  // What was printed for a reader of the first event fits one who has none of them.
  const std::uint64_t from = news->events.empty() ? news->next : news->events.front().number;
  book.begin({news->boot, from, {}, false}, WallTime{1});
  const auto applied = book.apply(*news, WallTime{2});
  SKEP_ASSERT(applied && book.next() == news->next);
  const std::size_t left = book.queue().items.size();
  SKEP_ASSERT(left + applied->size() <= news->events.size());
  for (const QueueItem& item : book.queue().items) SKEP_ASSERT(item.id > 0 && item.label);
  // A second time it tells nothing, and changes nothing.
  const auto again = book.apply(*news, WallTime{3});
  SKEP_ASSERT(again && again->empty() && book.queue().items.size() == left);
  return 0;
}
