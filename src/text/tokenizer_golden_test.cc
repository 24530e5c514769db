// Token ids against the `tokenizers` and `transformers` packages: every family, 1 MiB of mixed text each, compared
// chunk by chunk through a hash. References: tools/golden/tokenizer_corpora.py.
//
// Two differences from a plain transformers conversion of a GGUF file are intended, and the references follow the
// models' published tokenizer.json:
//  1. "smollm": transformers (5.23) splits like GPT-2; the model splits single digits first.
//  2. Gemma: equal to transformers, also where SentencePiece differs: runs of more than 31 spaces are merged in pairs
//     (16 + 16), not cut as 31 + 1.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "text/detokenizer.h"
#include "text/gguf_vocab_reader_test.h"
#include "text/tokenizer.h"
#include "text/tokenizer_corpus_test.h"
#include "text/tokenizer_writer.h"

namespace millrace::text {
namespace {

const std::string kData = MILLRACE_SOURCE_DIR "/tests/golden/data/tokenizers/";

std::string read(const std::string& path) {
  auto text = read_file(path, 128u << 20);
  EXPECT_TRUE(text.ok()) << path;
  return text.ok() ? *text : std::string();
}

template <class Bytes>
uint64_t fnv1a(const Bytes& bytes) {
  uint64_t value = 0xcbf29ce484222325u;
  for (const auto byte : bytes) value = (value ^ static_cast<uint8_t>(byte)) * 0x100000001b3u;
  return value;
}

// The decoder test of the reference hashes bytes as 4-byte integers, as ids.
uint64_t hash_ids(const std::vector<TokenId>& ids) {
  std::string bytes;
  for (const TokenId id : ids) {
    const auto bits = static_cast<uint32_t>(id);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>((bits >> shift) & 0xFF));
  }
  return fnv1a(bytes);
}

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

Json read_reference(const std::string& name) {
  auto json = parse_json(read(kData + name + ".ref.json"));
  EXPECT_TRUE(json.ok());
  return json.ok() ? *json : Json();
}

std::vector<TokenId> ids_of(const Json& list) {
  std::vector<TokenId> out;
  for (const Json& id : list.as_array()) out.push_back(static_cast<TokenId>(id.as_int()));
  return out;
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.error().message;
  return ids.ok() ? *ids : std::vector<TokenId>();
}

// skip: chunks that hold this text are left out.
void expect_reference(const Tokenizer& tokenizer, const Json& reference, std::string_view skip = {}) {
  const std::string& sample = reference.find("sample")->as_string();
  EXPECT_EQ(encode(tokenizer, sample), ids_of(*reference.find("sample_ids")));
  EncodeOptions plain;
  plain.add_special = false;
  EXPECT_EQ(encode(tokenizer, sample, plain), ids_of(*reference.find("sample_plain_ids")));
  const JsonArray& chunks = reference.find("chunks")->as_array();
  const JsonArray& decoded = reference.find("decoded")->as_array();
  size_t n_wrong = 0;
  size_t n_compared = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const std::string text = corpus::chunk(i);
    if (!skip.empty() && text.find(skip) != std::string::npos) continue;
    ++n_compared;
    const auto ids = encode(tokenizer, text);
    const auto n = static_cast<int64_t>(ids.size());
    if (chunks[i].as_array()[0].as_int() != n || chunks[i].as_array()[1].as_string() != hex(hash_ids(ids))) {
      if (++n_wrong == 1) ADD_FAILURE() << "chunk " << i << ": " << n << " ids, want " << chunks[i].dump();
    }
    if (i >= decoded.size()) continue;
    const std::string back = tokenizer.decode(ids, i % 2 == 0);
    const std::vector<TokenId> bytes(reinterpret_cast<const uint8_t*>(back.data()),
                                     reinterpret_cast<const uint8_t*>(back.data()) + back.size());
    EXPECT_EQ(decoded[i].as_string(), hex(hash_ids(bytes))) << "decoded chunk " << i;
  }
  EXPECT_EQ(n_wrong, 0u) << "of " << n_compared;
  EXPECT_GE(n_compared, 64u);
}

class Family : public testing::TestWithParam<std::string> {};

TEST_P(Family, EqualsTheTokenizersPackage) {
  auto spec = spec_from_tokenizer_text(read(kData + GetParam() + ".json"), "");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto tokenizer = Tokenizer::create(*spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  expect_reference(*tokenizer, read_reference(GetParam()));
}

// What to_tokenizer_json writes reads back as the same tokenizer.
TEST_P(Family, SurvivesTheWriter) {
  auto spec = spec_from_tokenizer_text(read(kData + GetParam() + ".json"), "");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto written = to_tokenizer_json(*spec);
  ASSERT_TRUE(written.ok()) << written.error().message;
  auto again = spec_from_tokenizer_text(*written, to_tokenizer_config(*spec, "", 2048));
  ASSERT_TRUE(again.ok()) << again.error().message;
  auto first = Tokenizer::create(*spec);
  auto second = Tokenizer::create(*again);
  ASSERT_TRUE(first.ok() && second.ok());
  for (uint64_t i = 0; i < 16; ++i) {
    const std::string text = corpus::chunk(i);
    const auto ids = encode(*first, text);
    ASSERT_EQ(ids, encode(*second, text)) << "chunk " << i;
    ASSERT_EQ(first->decode(ids, false), second->decode(ids, false)) << "chunk " << i;
  }
}

// The joined deltas are the whole text, each delta is valid UTF-8.
TEST_P(Family, StreamsWhatItDecodes) {
  auto spec = spec_from_tokenizer_text(read(kData + GetParam() + ".json"), "");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto tokenizer = Tokenizer::create(*spec);
  ASSERT_TRUE(tokenizer.ok());
  corpus::Random random(7);
  for (uint64_t round = 0; round < 40; ++round) {
    std::vector<TokenId> ids;
    const bool skip = round % 2 == 0;
    for (int i = 0; i < 200; ++i) {
      ids.push_back(static_cast<TokenId>(random.below(static_cast<uint32_t>(tokenizer->n_vocab()) + 2)));
    }
    Detokenizer stream(*tokenizer, skip);
    std::string joined;
    for (const TokenId id : ids) {
      const std::string delta = stream.push(id);
      ASSERT_EQ(delta, repair_utf8(delta));
      joined += delta;
    }
    joined += stream.finish();
    ASSERT_EQ(joined, tokenizer->decode(ids, skip)) << "round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Family,
                         testing::Values("gpt2", "smollm", "llama3", "qwen2", "tekken", "gpt4o", "deepseek_v3",
                                         "deepseek_coder", "falcon", "bloom", "roberta", "llama2", "gemma",
                                         "metaspace_first", "t5", "unigram_bytes", "bert_uncased", "bert_cased",
                                         "odd_whitespace", "odd_removed", "odd_next", "odd_previous", "odd_contiguous",
                                         "odd_prefix"),
                         [](const auto& info) { return info.param; });

// The same vocabulary through the GGUF keys: what the name in "tokenizer.ggml.pre" stands for equals the file's steps.
TEST(GgufPre, StandsForTheFamilysSteps) {
  for (const std::string family :
       {"gpt2", "smollm", "llama3", "qwen2", "tekken", "gpt4o", "deepseek_v3", "deepseek_coder", "falcon", "bloom"}) {
    auto spec = spec_from_tokenizer_text(read(kData + family + ".json"), "");
    ASSERT_TRUE(spec.ok());
    const Json reference = read_reference(family);
    GgufVocab vocab;
    vocab.model = "gpt2";
    vocab.pre = reference.find("gguf_pre")->as_string();
    vocab.tokens = spec->tokens;
    for (const TokenType type : spec->types) vocab.types.push_back(static_cast<int32_t>(type));
    for (const Merge& merge : spec->merges) {
      vocab.merges.push_back(spec->tokens[static_cast<size_t>(merge.left)] + " " +
                             spec->tokens[static_cast<size_t>(merge.right)]);
    }
    vocab.add_bos = 0;
    auto from_gguf = spec_from_gguf(vocab);
    ASSERT_TRUE(from_gguf.ok()) << from_gguf.error().message;
    // Flags of added tokens (strip, single word, normalised) have no place in GGUF.
    from_gguf->added = spec->added;
    auto one = Tokenizer::create(*spec);
    auto two = Tokenizer::create(*from_gguf);
    ASSERT_TRUE(one.ok() && two.ok());
    EncodeOptions plain;
    plain.add_special = false;
    for (uint64_t i = 0; i < 16; ++i) {
      const std::string text = corpus::chunk(i);
      ASSERT_EQ(encode(*one, text, plain), encode(*two, text, plain)) << family << " chunk " << i;
    }
  }
}

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

struct GgufKind {
  std::string family;  // of the references
  std::string model;   // tokenizer.ggml.model
};

// The keys a converter writes for the vocabulary of a tokenizer.json (llama.cpp b11434, convert_hf_to_gguf.py).
GgufVocab gguf_keys_of(const TokenizerSpec& spec, const std::string& model) {
  GgufVocab vocab;
  vocab.model = model;
  vocab.tokens = spec.tokens;
  for (const TokenType type : spec.types) vocab.types.push_back(static_cast<int32_t>(type));
  for (const double score : spec.scores) vocab.scores.push_back(static_cast<float>(score));
  for (const Merge& merge : spec.merges) {
    vocab.merges.push_back(spec.tokens[static_cast<size_t>(merge.left)] + " " +
                           spec.tokens[static_cast<size_t>(merge.right)]);
  }
  for (const NormalizerStep& step : spec.normalizers) {
    if (step.kind == NormalizerKind::kPrecompiled) vocab.charsmap = step.content;
  }
  vocab.bos = spec.bos;
  vocab.eos = spec.eos;
  vocab.unk = spec.model_unk;
  vocab.cls = spec.prefix.empty() ? kNoToken : spec.prefix.front();
  vocab.sep = spec.suffix.empty() ? kNoToken : spec.suffix.back();
  if (model == "t5") vocab.eos = vocab.sep;
  if (model == "bert") {  // words begin with the mark, continuations have none
    for (size_t i = 0; i < vocab.tokens.size(); ++i) {
      std::string& piece = vocab.tokens[i];
      if (spec.types[i] != TokenType::kNormal) continue;
      piece = piece.starts_with("##") ? piece.substr(2) : std::string(kSpaceMark) + piece;
    }
  } else if (model != "t5") {
    vocab.add_bos = 0;
  }
  return vocab;
}

class GgufModel : public testing::TestWithParam<GgufKind> {};

TEST_P(GgufModel, EqualsTheTokenizersPackage) {
  auto spec = spec_from_tokenizer_text(read(kData + GetParam().family + ".json"), "");
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto from_gguf = spec_from_gguf(gguf_keys_of(*spec, GetParam().model));
  ASSERT_TRUE(from_gguf.ok()) << from_gguf.error().message;
  from_gguf->added = spec->added;  // flags of added tokens (strip, single word, normalised) have no place in GGUF
  auto tokenizer = Tokenizer::create(*from_gguf);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  // A piece "##\u2581" and a word piece "\u2581" are one string in a GGUF file of BERT.
  const bool bert = GetParam().model == "bert";
  expect_reference(*tokenizer, read_reference(GetParam().family), bert ? kSpaceMark : std::string_view());
}

INSTANTIATE_TEST_SUITE_P(Kinds, GgufModel,
                         testing::Values(GgufKind{"t5", "t5"}, GgufKind{"bert_uncased", "bert"},
                                         GgufKind{"gemma", "gemma4"}),
                         [](const auto& info) { return info.param.model; });

TEST(GgufPre, EveryNameGivesATokenizer) {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.tokens = {"a", "b", "ab"};
  vocab.merges = {"a b"};
  for (const auto name : known_gguf_pre_names()) {
    vocab.pre = name;
    auto spec = spec_from_gguf(vocab);
    ASSERT_TRUE(spec.ok()) << name;
    auto tokenizer = Tokenizer::create(*spec);
    ASSERT_TRUE(tokenizer.ok()) << name << ": " << tokenizer.error().message;
    EXPECT_EQ(encode(*tokenizer, "ab"), std::vector<TokenId>{2}) << name;
  }
}

class RealFile : public testing::TestWithParam<std::string> {};

TEST_P(RealFile, EqualsTransformers) {
  const Json reference = read_reference(GetParam());
  const auto vocab = read_gguf_vocab(MILLRACE_SOURCE_DIR "/models/" + reference.find("gguf_file")->as_string());
  auto spec = spec_from_gguf(vocab);
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto tokenizer = Tokenizer::create(*spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  expect_reference(*tokenizer, reference);
}

INSTANTIATE_TEST_SUITE_P(Gguf, RealFile, testing::Values("real_smollm2", "real_gemma3"),
                         [](const auto& info) { return info.param; });

TEST(RealFileFacts, EndTokensAndNames) {
  const auto smol = read_gguf_vocab(MILLRACE_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf");
  auto tokenizer = Tokenizer::create(*spec_from_gguf(smol));
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ(tokenizer->eog_ids(), (std::vector<TokenId>{0, 2}));
  EXPECT_EQ(tokenizer->find("<|im_start|>"), std::optional<TokenId>(1));
  EXPECT_EQ(tokenizer->n_vocab(), 49152u);
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_TRUE(tokenizer->is_eog(2));
}

}  // namespace
}  // namespace millrace::text
