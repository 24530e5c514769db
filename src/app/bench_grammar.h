// The parts of `millrace bench grammar`. Thread: one.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "grammar/compiler.h"

namespace millrace::app {

struct CorpusWalks {
  std::string file;     // one constraint per line
  int64_t n_walks = 8;  // of each; every fourth without a bias towards the end
  uint64_t seed = 1;
};

// Prints a line of JSON per constraint: whether it compiles, or why not; the fewest tokens of an answer found; walks of
// at most four times as many.
Result<void> walk_corpus(const CorpusWalks& options, grammar::Compiler& compiler,
                         const grammar::Vocabulary& vocabulary);

}  // namespace millrace::app
