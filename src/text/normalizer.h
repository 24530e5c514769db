// Normalizer: the normalizer list of a tokenizer, compiled. Invalid bytes pass through unchanged.
// Linear but for the sort of a run of combining marks (n log n). Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/charsmap.h"
#include "text/split_pattern.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

class Normalizer {
 public:
  static Result<Normalizer> create(const std::vector<NormalizerStep>& steps, uint32_t match_steps);
  bool empty() const { return steps_.empty(); }
  Result<std::string> apply(std::string text) const;

 private:
  struct Step {
    NormalizerStep spec;
    std::optional<SplitPattern> pattern;  // kReplace
    std::optional<Charsmap> charsmap;     // kPrecompiled
  };
  Result<std::string> apply_step(const Step& step, std::string text) const;
  std::vector<Step> steps_;
};

}  // namespace millrace::text
