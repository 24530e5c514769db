// Fuzz target: a tokenizer.json up to the last brace, then a text that it must encode and decode. Seeds:
// tests/golden/data/tokenizers/*.json.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_writer.h"
#include "text/utf8.h"

namespace {

constexpr size_t kMaxText = 4096;
constexpr uint32_t kMatchSteps = 10'000;

void use(millrace::text::TokenizerSpec spec, std::string_view text) {
  static_cast<void>(millrace::text::to_tokenizer_json(spec).ok());
  auto tokenizer = millrace::text::Tokenizer::create(std::move(spec), kMatchSteps);
  if (!tokenizer) return;
  const auto ids = tokenizer->encode(text);
  if (!ids) return;
  std::string joined;
  millrace::text::Detokenizer stream(*tokenizer, true);
  for (const auto id : *ids) {
    CHECK(id >= 0 && static_cast<size_t>(id) < tokenizer->n_vocab());
    joined += stream.push(id);
  }
  joined += stream.finish();
  CHECK(joined == tokenizer->decode(*ids, true));
  CHECK(joined == millrace::text::repair_utf8(joined));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = millrace::as_text({data, size});
  // A tokenizer.json ends with its last brace; what follows is the text.
  const size_t brace = input.rfind('}');
  const size_t split = brace == std::string_view::npos ? size : brace + 1;
  const std::string_view text = input.substr(split).empty() ? input.substr(0, kMaxText) : input.substr(split);
  auto spec = millrace::text::spec_from_tokenizer_text(input.substr(0, split), "");
  if (spec) use(std::move(*spec), text.substr(0, kMaxText));
  return 0;
}
