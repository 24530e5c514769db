// OutputLengths: the mean length of the last outputs, for admission.
// Thread: engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::sched {

class OutputLengths {
 public:
  void add(uint32_t n_tokens) {
    sum_ += n_tokens;
    sum_ -= lengths_[next_];  // 0 while the window fills
    lengths_[next_] = n_tokens;
    next_ = (next_ + 1) % kWindow;
    if (n_ < kWindow) ++n_;
  }
  // Tokens; a guess before the first output ended.
  uint32_t mean() const { return n_ == 0 ? kFirstGuess : static_cast<uint32_t>(sum_ / n_); }

 private:
  static constexpr size_t kWindow = 500;
  static constexpr uint32_t kFirstGuess = 200;

  std::array<uint32_t, kWindow> lengths_{};
  size_t next_ = 0;
  uint64_t n_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace millrace::sched
