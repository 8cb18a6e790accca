#include "bench/heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace skep::bench {
namespace {

bool is_counting = false;
std::atomic<std::int64_t> live{0};
std::atomic<std::int64_t> peak{0};

void* take(std::size_t size) noexcept {
  void* const block = std::malloc(size == 0 ? 1 : size);
  if (block == nullptr || !is_counting) return block;
  const auto bytes = static_cast<std::int64_t>(malloc_usable_size(block));
  const std::int64_t now = live.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (now > peak.load(std::memory_order_relaxed)) peak.store(now, std::memory_order_relaxed);
  return block;
}

void give_back(void* block) noexcept {
  if (block == nullptr || !is_counting) return std::free(block);
  live.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(block)), std::memory_order_relaxed);
  std::free(block);
}

}  // namespace

void start_heap_count() {
  is_counting = true;
}
std::int64_t heap_live_bytes() {
  return live.load(std::memory_order_relaxed);
}
std::int64_t heap_peak_bytes() {
  return peak.load(std::memory_order_relaxed);
}
void reset_heap_peak() {
  peak.store(live.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // namespace skep::bench

void* operator new(std::size_t size) {
  if (void* const block = skep::bench::take(size)) return block;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return skep::bench::take(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return skep::bench::take(size);
}
void operator delete(void* block) noexcept {
  skep::bench::give_back(block);
}
void operator delete(void* block, std::size_t) noexcept {
  skep::bench::give_back(block);
}
