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
constexpr std::string_view kLlamaMagic = "_logits_";
constexpr size_t kHeadBytes = 8 + 3 * 4;
constexpr uint32_t kMaxCtx = 1u << 20;
constexpr uint32_t kMaxVocab = 1u << 22;
constexpr uint32_t kMaxWindows = 1u << 16;  // with the two above the sizes of a file stay below 2^61

Error bad(const std::string& path, const std::string& what) {
  return Error{ErrorCode::kBadFile, fmt::format("{}: {}", path, what), path};
}

}  // namespace

uint64_t LogitsReader::row_bytes() const {
  if (!llama_) return uint64_t{head_.n_vocab} * 4;
  return 2 * (uint64_t{2} * ((head_.n_vocab + 1) / 2) + 4);
}

uint64_t LogitsReader::rows_at(uint32_t window) const {
  uint64_t token_bytes = uint64_t{head_.n_ctx} * 4;
  if (llama_) return kHeadBytes + head_.n_windows * token_bytes + window * n_rows() * row_bytes();
  return kHeadBytes + window * (token_bytes + n_rows() * row_bytes()) + token_bytes;
}

uint64_t LogitsReader::end() const { return rows_at(head_.n_windows - 1) + n_rows() * row_bytes(); }

Result<LogitsReader> LogitsReader::open(const std::string& path) {
  MappedFile file = TRY(MappedFile::open(path));
  ByteReader reader(file.bytes());
  auto magic = reader.take(kMagic.size());
  bool llama = magic && as_text(*magic) == kLlamaMagic;
  if (!magic || (as_text(*magic) != kMagic && !llama))
    return bad(path, "not a file of log-probabilities (want MRLOGIT1, or _logits_ of llama-perplexity)");
  auto first = reader.read<uint32_t>();
  auto second = reader.read<uint32_t>();
  auto n_windows = reader.read<uint32_t>();
  if (!n_windows) return bad(path, "the head is cut");
  LogitsHead head{llama ? *second : *first, llama ? *first : *second, *n_windows};
  if (head.n_vocab == 0 || head.n_vocab > kMaxVocab || head.n_ctx < (llama ? 4 : 2) || head.n_ctx > kMaxCtx ||
      head.n_windows == 0 || head.n_windows > kMaxWindows)
    return bad(path, "sizes out of range");
  uint64_t have = file.bytes().size();
  LogitsReader out(std::move(file), head, llama);
  if (out.end() != have) return bad(path, fmt::format("{} bytes, {} expected", have, out.end()));
  return out;
}

std::vector<TokenId> LogitsReader::tokens(uint32_t window) const {
  std::vector<TokenId> out(head_.n_ctx);
  uint64_t bytes = uint64_t{head_.n_ctx} * 4;
  uint64_t at = llama_ ? kHeadBytes + window * bytes : rows_at(window) - bytes;
  std::memcpy(out.data(), file_.bytes().data() + at, bytes);
  return out;
}

void LogitsReader::row(uint32_t window, uint32_t position, std::span<float> out) const {
  const auto* at = file_.bytes().data() + rows_at(window) + (position - first_position()) * row_bytes();
  if (!llama_) {
    std::memcpy(out.data(), at, uint64_t{head_.n_vocab} * 4);
    return;
  }
  float scale_and_minimum[2];
  std::memcpy(scale_and_minimum, at, sizeof scale_and_minimum);
  for (size_t i = 0; i < head_.n_vocab; ++i) {
    uint16_t value = 0;
    std::memcpy(&value, at + sizeof scale_and_minimum + 2 * i, sizeof value);
    out[i] = scale_and_minimum[0] * static_cast<float>(value) + scale_and_minimum[1];
  }
}

Result<LogitsWriter> LogitsWriter::create(const std::string& path, const LogitsHead& head) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Error{ErrorCode::kIo, fmt::format("{}: {}", path, std::strerror(errno)), path};
  LogitsWriter out(fd, path);
  TRY(out.write(kMagic.data(), kMagic.size()));
  const uint32_t sizes[] = {head.n_vocab, head.n_ctx, head.n_windows};
  TRY(out.write(sizes, sizeof sizes));
  (void)FAULT_POINT("logits.head.after");
  return out;
}

LogitsWriter::LogitsWriter(LogitsWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
LogitsWriter::~LogitsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> LogitsWriter::write(const void* bytes, size_t n) {
  return write_all(fd_, {static_cast<const uint8_t*>(bytes), n}, path_);
}

Result<void> LogitsWriter::window(std::span<const TokenId> tokens, std::span<const float> rows) {
  TRY(write(tokens.data(), tokens.size_bytes()));
  (void)FAULT_POINT("logits.tokens.after");
  return write(rows.data(), rows.size_bytes());
}

Result<void> LogitsWriter::close() {
  if (::close(std::exchange(fd_, -1)) != 0)
    return Error{ErrorCode::kIo, fmt::format("{}: {}", path_, std::strerror(errno)), path_};
  return {};
}

}  // namespace millrace::app
