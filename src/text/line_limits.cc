#include "text/line_limits.h"

namespace millrace::text {

void LineLimits::push(std::string& text, int64_t elapsed_ms) {
  bool new_line = false;
  for (size_t i = 0; i < text.size() && !cut_; ++i) {
    const char c = text[i];
    const bool blank = c == ' ' || c == '\t';
    if (at_begin_ && blank) {
      ++n_blanks_;
    } else if (at_begin_ && n_blanks_ < options_.n_indent) {
      cut_ = true;
      text.resize(i);
    } else {
      at_begin_ = c == '\n';
      n_blanks_ = 0;
      new_line = new_line || at_begin_;
    }
  }
  late_ = !cut_ && new_line && options_.max_ms > 0 && elapsed_ms > options_.max_ms;
}

}  // namespace millrace::text
