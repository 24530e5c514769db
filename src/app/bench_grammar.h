// The parts of `millrace bench grammar`. Thread: one.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "grammar/compiler.h"

namespace millrace::app {

struct CorpusWalks {
  std::string file;     // one constraint per line
  int64_t n_walks = 8;  // of each
  uint64_t seed = 1;
};

// Prints a line of JSON per constraint: whether it compiles, or why not; the fewest tokens in which an answer is known
// to end; walks within a limit of four times as many.
Result<void> walk_corpus(const CorpusWalks& options, grammar::Compiler& compiler,
                         const grammar::Vocabulary& vocabulary);

}  // namespace millrace::app
