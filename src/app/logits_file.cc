#include "app/logits_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"

namespace millrace::app {
namespace {

constexpr std::string_view kMagic = "MRLOGIT1";
constexpr size_t kHeadBytes = 8 + 3 * 4;
constexpr uint32_t kMaxCtx = 1u << 20;
constexpr uint32_t kMaxVocab = 1u << 22;

Error bad(const std::string& path, const std::string& what) {
  return Error{ErrorCode::kBadFile, fmt::format("{}: {}", path, what), path};
}

}  // namespace

Result<LogitsReader> LogitsReader::open(const std::string& path) {
  MappedFile file = TRY(MappedFile::open(path));
  ByteReader reader(file.bytes());
  auto magic = reader.take(kMagic.size());
  if (!magic || as_text(*magic) != kMagic) return bad(path, "not a file of log-probabilities (want MRLOGIT1)");
  auto n_vocab = reader.read<uint32_t>();
  auto n_ctx = reader.read<uint32_t>();
  auto n_windows = reader.read<uint32_t>();
  if (!n_windows) return bad(path, "the head is cut");
  LogitsHead head{*n_vocab, *n_ctx, *n_windows};
  if (head.n_vocab == 0 || head.n_vocab > kMaxVocab || head.n_ctx < 2 || head.n_ctx > kMaxCtx)
    return bad(path, "sizes out of range");
  auto want = checked_mul(head.window_bytes(), head.n_windows);
  if (!want || *want != reader.left())
    return bad(path, fmt::format("{} bytes of windows, {} expected", reader.left(), want.value_or(0)));
  return LogitsReader(std::move(file), head);
}

std::vector<TokenId> LogitsReader::tokens(uint32_t window) const {
  std::vector<TokenId> out(head_.n_ctx);
  std::memcpy(out.data(), file_.bytes().data() + kHeadBytes + window * head_.window_bytes(), out.size() * 4);
  return out;
}

void LogitsReader::row(uint32_t window, uint32_t position, std::span<float> out) const {
  uint64_t at =
      kHeadBytes + window * head_.window_bytes() + uint64_t{head_.n_ctx} * 4 + uint64_t{position} * head_.n_vocab * 4;
  std::memcpy(out.data(), file_.bytes().data() + at, uint64_t{head_.n_vocab} * 4);
}

Result<LogitsWriter> LogitsWriter::create(const std::string& path, const LogitsHead& head) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Error{ErrorCode::kIo, fmt::format("{}: {}", path, std::strerror(errno)), path};
  LogitsWriter out(fd, path);
  TRY(out.write(kMagic.data(), kMagic.size()));
  const uint32_t sizes[] = {head.n_vocab, head.n_ctx, head.n_windows};
  TRY(out.write(sizes, sizeof sizes));
  return out;
}

LogitsWriter::LogitsWriter(LogitsWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
LogitsWriter::~LogitsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> LogitsWriter::write(const void* bytes, size_t n) {
  const char* at = static_cast<const char*>(bytes);
  while (n > 0) {
    ssize_t done = ::write(fd_, at, n);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return Error{ErrorCode::kIo, fmt::format("{}: {}", path_, std::strerror(errno)), path_};
    at += done;
    n -= static_cast<size_t>(done);
  }
  return {};
}

Result<void> LogitsWriter::window(std::span<const TokenId> tokens, std::span<const float> rows) {
  TRY(write(tokens.data(), tokens.size_bytes()));
  return write(rows.data(), rows.size_bytes());
}

Result<void> LogitsWriter::close() {
  if (::close(std::exchange(fd_, -1)) != 0)
    return Error{ErrorCode::kIo, fmt::format("{}: {}", path_, std::strerror(errno)), path_};
  return {};
}

}  // namespace millrace::app
