// Properties of every tokenizer: total, linear, reversible, and user text never becomes a special token.
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/file.h"
#include "base/macros.h"
#include "text/detokenizer.h"
#include "text/spec_vocab_txt.h"
#include "text/tokenizer_corpus_test.h"

namespace millrace::text {
namespace {

Tokenizer load(const std::string& family) {
  auto text = read_file(MILLRACE_SOURCE_DIR "/tests/golden/data/tokenizers/" + family + ".json", 8u << 20);
  CHECK(text.ok(), "{}", family);
  auto spec = spec_from_tokenizer_text(*text, "");
  CHECK(spec.ok(), "{}", spec.error().message);
  auto tokenizer = Tokenizer::create(*spec);
  CHECK(tokenizer.ok(), "{}", tokenizer.error().message);
  return std::move(*tokenizer);
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.error().message;
  return ids.ok() ? *ids : std::vector<TokenId>();
}

std::string random_bytes(corpus::Random& random, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out.push_back(static_cast<char>(random.below(256)));
  return out;
}

// R30: byte-level kinds without a normaliser keep every byte.
TEST(ByteLevel, KeepsAnyBytes) {
  EncodeOptions plain;
  plain.add_special = false;
  plain.parse_special = false;
  for (const char* family : {"gpt2", "smollm", "llama3", "tekken", "gpt4o", "deepseek_v3", "falcon"}) {
    const Tokenizer tokenizer = load(family);
    corpus::Random random(3);
    for (uint64_t round = 0; round < 200; ++round) {
      std::string text = round % 2 == 0 ? random_bytes(random, random.below(400)) : corpus::chunk(round).substr(0, 700);
      // "<mask>" takes the spaces around it and "foo" none: added tokens of the test families that are not reversible.
      if (text.find("<mask>") != std::string::npos) continue;
      ASSERT_EQ(tokenizer.decode_bytes(encode(tokenizer, text, plain), false), text) << family << " round " << round;
    }
  }
}

TEST(FewestTokens, IsALowerBound) {
  for (const char* family : {"gpt2", "smollm", "llama3", "qwen2", "llama2", "gemma", "t5", "bert_uncased"}) {
    const Tokenizer tokenizer = load(family);
    std::string longest;  // of the pieces that a text may hold
    for (size_t i = 0; i < tokenizer.n_vocab(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (tokenizer.token_bytes(id).size() > longest.size()) longest = tokenizer.token_bytes(id);
    }
    corpus::Random random(5);
    std::vector<std::string> texts = {"", "a", std::string(5000, ' '), longest + longest + longest};
    for (uint64_t round = 0; round < 50; ++round) texts.push_back(corpus::chunk(round) + random_bytes(random, 100));
    for (const std::string& text : texts) {
      const size_t n_tokens = encode(tokenizer, text, {.add_special = false}).size();
      EXPECT_LE(tokenizer.fewest_tokens(text), n_tokens) << family << ": " << text.substr(0, 80);
    }
  }
}

TEST(FewestTokens, IsKnownWhereEveryByteIsKept) {
  const std::string text(7200000, 'a');
  for (const char* family : {"gpt2", "smollm", "llama3"}) {
    EXPECT_GT(load(family).fewest_tokens(text), 8192u) << family;
  }
  EXPECT_EQ(load("bert_uncased").fewest_tokens(text), 0u);  // a word of any length is one [UNK]
}

TEST(OtherKinds, TakeAnyBytes) {
  for (const char* family : {"llama2", "gemma", "metaspace_first", "t5", "unigram_bytes", "bert_uncased"}) {
    const Tokenizer tokenizer = load(family);
    corpus::Random random(4);
    for (int round = 0; round < 100; ++round) {
      const auto ids = encode(tokenizer, random_bytes(random, random.below(500)));
      const std::string text = tokenizer.decode(ids, true);
      ASSERT_EQ(text, repair_utf8(text));
    }
  }
}

// The two files of a BERT tokenizer's older form give the ids of its tokenizer.json.
TEST(VocabTxt, IsTheTokenizerOfTokenizerJson) {
  for (bool lower : {true, false}) {
    const Tokenizer want = load(lower ? "bert_uncased" : "bert_cased");
    std::string vocab;
    for (const std::string& token : want.spec().tokens) vocab += token + "\n";
    Json config = Json::object();
    config.set("do_lower_case", lower);
    auto spec = spec_from_vocab_txt(vocab, &config);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    auto tokenizer = Tokenizer::create(*spec);
    ASSERT_TRUE(tokenizer.ok());
    for (uint64_t round = 0; round < 200; ++round) {
      std::string text = corpus::chunk(round).substr(0, 700);
      ASSERT_EQ(encode(*tokenizer, text), encode(want, text)) << lower << " round " << round;
    }
  }
  EXPECT_NE(spec_from_vocab_txt("[PAD]\n[UNK]\n[CLS]\n", nullptr).error().message.find("[SEP]"), std::string::npos);
  EXPECT_NE(spec_from_vocab_txt("a\nb\na\n", nullptr).error().message.find("line 3"), std::string::npos);
  EXPECT_FALSE(spec_from_vocab_txt("", nullptr).ok());
}

TEST(ByteFallback, KeepsInvalidBytes) {
  const Tokenizer tokenizer = load("gemma");
  const std::string text = "a\xFF\xC3(b\x80";
  EXPECT_EQ(tokenizer.decode_bytes(encode(tokenizer, text), true), text);
}

// T10 and R30: 1 MB of one class, on a 256 KiB stack. The bound is generous: quadratic work would take minutes.
// One class in full, the others shorter.
struct Job {
  const Tokenizer* tokenizer;
  std::string_view text;
  bool ok = false;
};

void* run_job(void* raw) {
  Job& job = *static_cast<Job*>(raw);
  job.ok = job.tokenizer->encode(job.text).ok();
  return nullptr;
}

bool encode_on_small_stack(const Tokenizer& tokenizer, std::string_view text) {
  Job job{&tokenizer, text};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread{};
  CHECK(pthread_create(&thread, &attributes, run_job, &job) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  return job.ok;
}

class LongRuns : public testing::TestWithParam<std::string> {};

TEST_P(LongRuns, AreLinear) {
  constexpr std::array<std::string_view, 9> kUnits{"A", " ", ".", "\n", "\xE4\xB8\xAD", "\xCC\x81", "us", "0", " a"};
  const Tokenizer tokenizer = load(GetParam());
  for (const auto unit : kUnits) {
    std::string text;
    const bool whole = unit == "A" && GetParam().starts_with("llama");
    const size_t n_bytes = whole ? 1u << 20 : 1u << 16;
    while (text.size() < n_bytes) text += unit;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(encode_on_small_stack(tokenizer, text)) << unit;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 300.0) << "unit \"" << unit << "\"";
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, LongRuns,
                         testing::Values("llama3", "qwen2", "tekken", "deepseek_v3", "deepseek_coder", "llama2", "t5",
                                         "bert_uncased"),
                         [](const auto& info) { return info.param; });

TEST(Literal, SpecialTokensStayText) {
  for (const char* family : {"llama3", "qwen2", "llama2", "gemma", "t5", "unigram_bytes"}) {
    const Tokenizer tokenizer = load(family);
    const TokenId start = *tokenizer.find("<|im_start|>");
    const std::string text = "<|im_start|>user\n<|im_start|>system</s><unk><|im_end|>";
    const std::vector<ByteRange> user{{17, 44}};
    EncodeOptions options;
    options.add_special = false;
    options.literal = user;
    const auto ids = encode(tokenizer, text, options);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), start), 1) << family;
    EXPECT_EQ(ids.front(), start);
    EXPECT_EQ(ids.back(), *tokenizer.find("<|im_end|>"));
    for (size_t i = 1; i + 1 < ids.size(); ++i) EXPECT_FALSE(tokenizer.is_special(ids[i])) << family << " " << i;
  }
}

TEST(Literal, OverlapIsEnough) {
  const Tokenizer tokenizer = load("llama3");
  EncodeOptions options;
  options.add_special = false;
  const std::vector<ByteRange> one_byte{{5, 6}};
  options.literal = one_byte;
  for (const TokenId id : encode(tokenizer, "<|im_start|>", options)) EXPECT_FALSE(tokenizer.is_special(id));
  const std::vector<ByteRange> after{{12, 13}};
  options.literal = after;
  EXPECT_EQ(encode(tokenizer, "<|im_start|>x", options).front(), *tokenizer.find("<|im_start|>"));
}

TEST(ParseSpecial, OffKeepsAllText) {
  const Tokenizer tokenizer = load("llama3");
  EncodeOptions options;
  options.add_special = false;
  options.parse_special = false;
  const auto ids = encode(tokenizer, "<s>a</s>", options);
  for (const TokenId id : ids) EXPECT_FALSE(tokenizer.is_special(id));
  EXPECT_EQ(tokenizer.decode(ids, true), "<s>a</s>");
}

// R28: deltas of random bytes, one byte per token.
TEST(Detokenizer, HoldsBackAtMostThreeBytes) {
  const Tokenizer tokenizer = load("gemma");
  corpus::Random random(9);
  for (int round = 0; round < 500; ++round) {
    std::vector<TokenId> ids;
    std::string bytes;
    for (uint32_t n = random.below(40); n > 0; --n) {
      const uint32_t byte = random.below(3) == 0 ? random.below(256) : 0x80 + random.below(128);
      ids.push_back(*tokenizer.find(fmt::format("<0x{:02X}>", byte)));
      bytes.push_back(static_cast<char>(byte));
    }
    Detokenizer stream(tokenizer, true);
    std::string joined;
    for (const TokenId id : ids) {
      const std::string delta = stream.push(id);
      ASSERT_EQ(delta, repair_utf8(delta));
      joined += delta;
    }
    ASSERT_EQ(joined + stream.finish(), repair_utf8(bytes));
  }
}

TEST(Detokenizer, PrimeGoesOnInTheMiddle) {
  const Tokenizer tokenizer = load("llama2");
  const auto ids = encode(tokenizer, "the Model serves");
  Detokenizer whole(tokenizer, true);
  Detokenizer rest(tokenizer, true);
  const size_t half = ids.size() / 2;
  rest.prime(std::span(ids).first(half));
  std::string want;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string delta = whole.push(ids[i]);
    if (i >= half) want += delta;
  }
  std::string got;
  for (size_t i = half; i < ids.size(); ++i) got += rest.push(ids[i]);
  EXPECT_EQ(got, want);
}

TEST(Ids, OutsideAreSkipped) {
  const Tokenizer tokenizer = load("gpt2");
  const std::vector<TokenId> ids{-1, 1 << 30, *tokenizer.find("a")};
  EXPECT_EQ(tokenizer.decode(ids, false), "a");
  EXPECT_EQ(tokenizer.token_text(-5), "");
  EXPECT_FALSE(tokenizer.is_special(1 << 30));
}

}  // namespace
}  // namespace millrace::text
