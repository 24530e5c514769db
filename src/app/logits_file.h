// A file of log-probabilities: the base of a KL divergence. Written by `millrace perplexity --save-logits` and by
// tools/golden/logits.py (transformers); little-endian:
//   8 bytes "MRLOGIT1"; u32 n_vocab, n_ctx, n_windows; then per window: i32 tokens [n_ctx],
//   f32 log-probabilities (natural) [n_ctx - 1, n_vocab] of the token after each position.
// The reader also takes the base file of llama.cpp's `llama-perplexity --kl-divergence-base` ("_logits_": u32 n_ctx,
// i32 n_vocab, n_windows; i32 tokens [n_windows, n_ctx]; per window a row for each position from n_ctx / 2 to n_ctx -
// 2: f32 scale, f32 minimum, u16 values [n_vocab], padded to an even count; log-probability = scale * value + minimum).
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
};

// Reads by mapping: rows are copied out one at a time.
class LogitsReader {
 public:
  static Result<LogitsReader> open(const std::string& path);
  const LogitsHead& head() const { return head_; }
  // First position of a window that has a row; the last is n_ctx - 2.
  uint32_t first_position() const { return llama_ ? head_.n_ctx / 2 : 0; }
  // llama-perplexity keeps the text's own tokens and puts BOS in place of each window's first when the model wants one.
  bool bos_replaces_first() const { return llama_; }
  // Log-probabilities at or below this are not part of a divergence: llama-perplexity lifts the far tail to 16 below
  // the best word, and with a large vocabulary the lifted tail would outweigh the rest.
  double floor() const { return llama_ ? -16.0 : -60.0; }
  std::vector<TokenId> tokens(uint32_t window) const;
  // position in first_position() .. n_ctx - 2; out [n_vocab]
  void row(uint32_t window, uint32_t position, std::span<float> out) const;

 private:
  LogitsReader(MappedFile file, LogitsHead head, bool llama) : file_(std::move(file)), head_(head), llama_(llama) {}
  uint64_t row_bytes() const;
  uint64_t rows_at(uint32_t window) const;  // byte offset of a window's first row
  uint64_t n_rows() const { return head_.n_ctx - 1 - first_position(); }
  uint64_t end() const;

  MappedFile file_;
  LogitsHead head_;
  bool llama_ = false;
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
