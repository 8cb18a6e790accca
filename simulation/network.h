// One way between two places, and what the weather does to messages on it. Pure.
#pragma once

#include <memory>
#include <utility>

#include "core/prng.h"
#include "core/result.h"
#include "core/time.h"
#include "simulation/farm.h"

namespace skep::simulation {

struct Link {
  Span there_and_back;
  int lost_requests = 0;  // of a thousand
  int lost_replies = 0;   // "sent, but the reply was lost"
  int late_requests = 0;  // they arrive long after the caller gave up
  int duplicates = 0;     // the request arrives a second time, later
  Duration jitter{};      // added to either way, at most; reorders what is sent close together
  bool is_request_cut = false;
  bool is_reply_cut = false;  // one-way partition
};

/// Whether a peer takes our token and our certificate.
enum class Trust { kept, token_refused, handshake_fails };

/// A request under way. Exactly one of the two is called, once.
template <typename T>
class Waiting {
 public:
  virtual ~Waiting() = default;
  virtual void reply(Result<T> result) = 0;
  virtual void drop() = 0;  // no answer will come: the caller's patience decides
};

/// Who waits for an answer; nobody, if made of nothing.
template <typename T>
class Caller {
 public:
  Caller() = default;
  explicit Caller(std::shared_ptr<Waiting<T>> waiting) : waiting_(std::move(waiting)) {}
  void reply(Result<T> result) const {
    if (waiting_) waiting_->reply(std::move(result));
  }
  void drop() const {
    if (waiting_) waiting_->drop();
  }

 private:
  std::shared_ptr<Waiting<T>> waiting_;
};

inline Duration draw(const Span& span, Prng& random) {
  return span.most <= span.least ? span.least
                                 : Duration(random.between(span.least.count(), span.most.count()));
}

/// Time of one way.
inline Duration one_way(const Link& link, Prng& random) {
  const Duration jitter =
      link.jitter > Duration::zero() ? draw({Duration::zero(), link.jitter}, random) : Duration::zero();
  return draw(link.there_and_back, random) / 2 + jitter;
}

}  // namespace skep::simulation
