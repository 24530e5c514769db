// A file of log-probabilities: the base of a KL divergence. Written by `millrace perplexity --save-logits` and by
// tools/golden/logits.py (transformers); little-endian:
//   8 bytes "MRLOGIT1"; u32 n_vocab, n_ctx, n_windows; then per window: i32 tokens [n_ctx],
//   f32 log-probabilities (natural) [n_ctx - 1, n_vocab] of the token after each position.
// Thread: one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/ids.h"
#include "base/result.h"

namespace millrace::app {

struct LogitsHead {
  uint32_t n_vocab = 0;
  uint32_t n_ctx = 0;  // tokens of a window
  uint32_t n_windows = 0;
  uint64_t row_values() const { return n_vocab; }
  uint64_t window_bytes() const { return uint64_t{n_ctx} * 4 + uint64_t{n_ctx - 1} * n_vocab * 4; }
};

// Reads by mapping: rows are copied out one at a time.
class LogitsReader {
 public:
  static Result<LogitsReader> open(const std::string& path);
  const LogitsHead& head() const { return head_; }
  std::vector<TokenId> tokens(uint32_t window) const;
  // out [n_vocab]
  void row(uint32_t window, uint32_t position, std::span<float> out) const;

 private:
  LogitsReader(MappedFile file, LogitsHead head) : file_(std::move(file)), head_(head) {}
  MappedFile file_;
  LogitsHead head_;
};

class LogitsWriter {
 public:
  static Result<LogitsWriter> create(const std::string& path, const LogitsHead& head);
  LogitsWriter(LogitsWriter&& other) noexcept;
  LogitsWriter(const LogitsWriter&) = delete;
  ~LogitsWriter();
  // rows [n_ctx - 1, n_vocab]
  Result<void> window(std::span<const TokenId> tokens, std::span<const float> rows);
  Result<void> close();

 private:
  LogitsWriter(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Result<void> write(const void* bytes, size_t n);
  int fd_ = -1;
  std::string path_;
};

}  // namespace millrace::app
