// The vocabulary of the SmolLM2 file in models/, for tests that need real tokens. Thread: any.
#pragma once

#include "base/macros.h"
#include "instance/model_text.h"
#include "text/tokenizer_spec.h"
#include "weights/model_file.h"

namespace millrace::testing {

inline text::TokenizerSpec smollm2_vocabulary() {
  auto file = weights::ModelFile::open(MILLRACE_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  CHECK(file.ok(), "{}", file.error().message);
  auto spec = instance::load_tokenizer_spec(*file);
  CHECK(spec.ok(), "{}", spec.error().message);
  return std::move(spec).value();
}

}  // namespace millrace::testing
