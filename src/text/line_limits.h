// LineLimits: ends an answer at one of its lines, as llama-server does for completions of code (n_indent and
// t_max_predict_ms; tools/server, process_token()). Thread: one at a time.
#pragma once

#include <cstdint>
#include <string>

namespace millrace::text {

struct LineLimitOptions {
  uint32_t n_indent = 0;  // > 0: a line behind the first that begins with fewer blanks and tabs ends the answer
  int64_t max_ms = 0;     // > 0: the first new line later than this after the first token ends it
};

class LineLimits {
 public:
  explicit LineLimits(LineLimitOptions options) : options_(options) {}

  bool empty() const { return options_.n_indent == 0 && options_.max_ms <= 0; }
  // More text, so long after the first token. Of a line that ends the answer only the indentation stays in `text`.
  void push(std::string& text, int64_t elapsed_ms);
  bool ended() const { return cut_ || late_; }
  bool cut() const { return cut_; }  // by a line that is indented by less

 private:
  LineLimitOptions options_;
  uint32_t n_blanks_ = 0;  // so far, of the line that begins
  bool at_begin_ = false;  // of a line behind the first: nothing but blanks so far
  bool cut_ = false;
  bool late_ = false;
};

}  // namespace millrace::text
