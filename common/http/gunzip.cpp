#include "common/http/gunzip.h"

#include <zlib.h>

#include <array>

namespace skep::http {

Result<std::string> gunzip(std::string_view compressed, std::size_t max_bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK)
    return Error::try_again(ErrorCode::out_of_resources, "no memory to unpack a gzip body");
  stream.next_in = reinterpret_cast<Bytef*>(
      const_cast<char*>(compressed.data()));  // NOLINT: zlib's interface is not const
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string out;
  std::array<char, 64 * 1024> chunk{};
  int code = Z_OK;
  while (code == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    code = inflate(&stream, Z_NO_FLUSH);
    const std::size_t made = chunk.size() - stream.avail_out;
    if (out.size() + made > max_bytes) {
      inflateEnd(&stream);
      return Error::unknown(ErrorCode::too_large,
                            "the unpacked body is larger than " + std::to_string(max_bytes) + " bytes");
    }
    out.append(chunk.data(), made);
    if (code == Z_OK && made == 0 && stream.avail_in == 0) code = Z_BUF_ERROR;
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END)
    return Error::unknown(ErrorCode::malformed_reply, "a gzip body that is cut or broken");
  return out;
}

}  // namespace skep::http
