// judge_head of download.h: pure.
#include <charconv>

#include "common/http/download.h"

namespace skep::http {
namespace {

/// Takes a whole number from the front of `text`; nullopt: there is none.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view expected) {
  if (text.substr(0, expected.size()) != expected) return false;
  text.remove_prefix(expected.size());
  return true;
}

struct Range {
  std::uint64_t first = 0, last = 0, total = 0;
};

/// "bytes 5-9/10"; a total that the server does not know is not good enough for us.
std::optional<Range> parse_content_range(std::string_view text) {
  if (!take(text, "bytes ")) return std::nullopt;
  const auto first = take_number(text);
  if (!first || !take(text, "-")) return std::nullopt;
  const auto last = take_number(text);
  if (!last || !take(text, "/")) return std::nullopt;
  const auto total = take_number(text);
  if (!total || !text.empty() || *first > *last || *last >= *total) return std::nullopt;
  return Range{*first, *last, *total};
}

bool is_strong(const std::string& etag) {
  return etag.size() >= 2 && etag.size() <= 512 && etag.front() == '"' && etag.back() == '"';
}

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 200)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

Error refusal(const DownloadRequest& request, const DownloadReply& reply) {
  const int status = reply.status;
  const std::string message = "GET " + request.url + " was answered with " + std::to_string(status);
  if (status == 404 || status == 410)
    return Error::failed(ErrorCode::not_found, message, "is the file in the repository under that name?");
  if (status == 401 || status == 403)
    return Error::failed(ErrorCode::unauthenticated, message,
                         "check the credentials file and what they may read");
  if (status == 408 || status == 429 || status >= 500)
    return Error::try_again(ErrorCode::unavailable, message);
  if (status >= 300 && status < 400)
    return Error::failed(
        ErrorCode::unsupported,
        message + (reply.location.empty()
                       ? ""
                       : ": a redirect to " + printable(reply.location.substr(0, reply.location.find('?')))),
        "redirects are not followed: give the address where the file is");
  return Error::failed(ErrorCode::unsupported, message);
}

}  // namespace

Result<DownloadHead> judge_head(const DownloadRequest& request, const DownloadReply& reply) {
  if (reply.status != 200 && reply.status != 206) return refusal(request, reply);
  if (!reply.content_encoding.empty() && reply.content_encoding != "identity")
    return Error::failed(ErrorCode::unsupported,
                         request.url + " came with the encoding " + printable(reply.content_encoding),
                         "the server must send files as they are");
  DownloadHead head;
  if (is_strong(reply.etag)) head.etag = reply.etag;
  head.total = reply.content_length;
  if (reply.status == 206) {
    const auto range = parse_content_range(reply.content_range);
    const bool was_asked = request.offset > 0 && !request.etag.empty();
    const bool fits = range && was_asked && range->first == request.offset &&
                      range->last + 1 == range->total &&
                      (!reply.content_length || *reply.content_length == range->total - range->first);
    if (!fits)
      return Error::failed(ErrorCode::malformed_reply, request.url +
                                                           " came as another range than was asked for: \"" +
                                                           printable(reply.content_range) + "\"");
    head.offset = range->first;
    head.total = range->total;
  }
  if (head.total && *head.total > request.max_bytes)
    return Error::failed(ErrorCode::too_large, request.url + " has " + std::to_string(*head.total) +
                                                   " bytes, " + std::to_string(request.max_bytes) +
                                                   " were expected");
  return head;
}

}  // namespace skep::http
