// Rows T01..T13: tokenizer files that must be refused with their text, and hostile texts that must not hurt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/macros.h"
#include "text/tokenizer.h"

namespace millrace::text {
namespace {

using ::testing::HasSubstr;

// A small valid byte-level file with room for one change.
struct FileParts {
  std::string vocab = R"({"a":0,"b":1,"ab":2})";
  std::string merges = R"([["a","b"]])";
  std::string added = "[]";
  std::string normalizer = "null";
  std::string pre = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  std::string post = "null";
  std::string decoder = R"({"type":"ByteLevel"})";
  std::string model_type = "BPE";
  std::string model_extra;

  std::string text() const {
    return R"({"version":"1.0","added_tokens":)" + added + R"(,"normalizer":)" + normalizer + R"(,"pre_tokenizer":)" +
           pre + R"(,"post_processor":)" + post + R"(,"decoder":)" + decoder + R"(,"model":{"type":")" + model_type +
           R"(","vocab":)" + vocab + R"(,"merges":)" + merges + model_extra + "}}";
  }
};

void expect_refused(const std::string& text, const std::string& want, const std::string& config = "") {
  auto spec = spec_from_tokenizer_text(text, config);
  Error error;
  if (spec.ok()) {
    auto tokenizer = Tokenizer::create(std::move(*spec));
    ASSERT_FALSE(tokenizer.ok()) << "accepted, want: " << want;
    error = tokenizer.error();
  } else {
    error = spec.error();
  }
  EXPECT_EQ(error.code, ErrorCode::kBadFile);
  EXPECT_THAT(error.message, HasSubstr(want));
  EXPECT_LE(error.message.size(), 1024u);
}

Tokenizer make(const FileParts& parts) {
  auto spec = spec_from_tokenizer_text(parts.text(), "");
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  auto tokenizer = Tokenizer::create(std::move(*spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(*tokenizer);
}

TEST(TokenizerFiles, TheValidOneLoads) {
  const Tokenizer tokenizer = make({});
  auto ids = tokenizer.encode("ab");
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, std::vector<TokenId>{2});
}

TEST(TokenizerFiles, T01TextThatIsNoFile) {
  expect_refused("", "tokenizer.json: ");
  expect_refused("{\"model\":", "tokenizer.json: not valid JSON at byte ");
  expect_refused(std::string(10'000, '['), "nesting deeper than 64");
  expect_refused("\"\xFF\"", "tokenizer.json: ");
  expect_refused("[]", "is not an object");
  expect_refused("{}", "no model");
  expect_refused(FileParts().text(), "tokenizer_config.json: ", "{");
}

TEST(TokenizerFiles, T02UnknownKinds) {
  FileParts parts;
  parts.model_type = "Foo";
  expect_refused(parts.text(), "unsupported model \"Foo\"");
  parts = {};
  parts.normalizer = R"({"type":"Foo"})";
  expect_refused(parts.text(), "unsupported normalizer \"Foo\"");
  parts.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Bar"}]})";
  expect_refused(parts.text(), "unsupported normalizer \"Bar\"");
  parts = {};
  parts.pre = R"({"type":"Foo"})";
  expect_refused(parts.text(), "unsupported pre_tokenizer \"Foo\"");
  parts = {};
  parts.decoder = R"({"type":"CTC"})";
  expect_refused(parts.text(), "unsupported decoder \"CTC\"");
  parts = {};
  parts.post = R"({"type":"Foo"})";
  expect_refused(parts.text(), "unsupported post_processor \"Foo\"");
  GgufVocab vocab;
  vocab.model = "rwkv";
  vocab.tokens = {"a"};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("unsupported tokenizer.ggml.model \"rwkv\""));
  vocab.model = "gpt2";
  vocab.pre = "foo";
  const std::string unknown_pre = "unsupported tokenizer.ggml.pre \"foo\": supported are";
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr(unknown_pre));
}

TEST(TokenizerFiles, T03Ids) {
  FileParts parts;
  parts.merges = "[]";
  parts.vocab = R"({"a":-1})";
  expect_refused(parts.text(), "has id -1: must be 0..1999999");
  parts.vocab = R"({"a":0,"b":0})";
  expect_refused(parts.text(), "token id 0 is both \"a\" and \"b\"");
  parts.vocab = R"({"a":4294967296})";
  expect_refused(parts.text(), "has id 4294967296");
  parts.vocab = R"({"a":1.5})";
  expect_refused(parts.text(), "has an id that is no integer");
  auto spec = spec_from_tokenizer_text(FileParts().text(), "");
  ASSERT_TRUE(spec.ok());
  EXPECT_TRUE(check_embedding_rows(*spec, 3).ok());
  EXPECT_THAT(check_embedding_rows(*spec, 2).error().message, HasSubstr("token id 2 >= embedding rows 2"));
  parts.vocab = R"({"a":0,"b":7})";  // a gap is allowed: unused rows
  EXPECT_EQ(make(parts).n_vocab(), 8u);
}

TEST(TokenizerFiles, T04Merges) {
  FileParts parts;
  parts.merges = R"([["a","b"],["zz","b"]])";
  expect_refused(parts.text(), "merge 1: token \"zz\" not in vocabulary");
  parts.merges = R"([["a","a"]])";
  expect_refused(parts.text(), "merge 0: token \"aa\" not in vocabulary");
  parts.merges = R"([["a","b"],["a","b"]])";
  expect_refused(parts.text(), "merge 1: token pair \"a\" \"b\" repeats merge 0");
  parts.merges = R"(["ab"])";
  expect_refused(parts.text(), "merge 0: \"ab\" is not two tokens");
  parts.merges = R"([["","ab"]])";
  expect_refused(parts.text(), "merge 0: token \"\" not in vocabulary");
  parts.merges = R"([1])";
  expect_refused(parts.text(), "merge 0 is not two tokens");
}

TEST(TokenizerFiles, T05ByteTokens) {
  for (const std::string piece : {"<0x-1>", "<0xZZ>", "<0x100>", "<0x>"}) {
    GgufVocab vocab;
    vocab.model = "llama";
    vocab.tokens = {"a", piece};
    vocab.scores = {0.0f, 0.0f};
    vocab.types = {1, 6};
    EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("byte token \"" + piece + "\" is malformed"));
    FileParts parts;
    parts.pre = "null";
    parts.merges = "[]";
    parts.vocab = "{\"a\":0,\"" + piece + "\":1}";
    parts.model_extra = R"(,"byte_fallback":true)";
    expect_refused(parts.text(), "byte token \"" + piece + "\" is malformed");
  }
}

TEST(TokenizerFiles, T06Sizes) {
  FileParts parts;
  parts.merges = "[]";
  parts.vocab = "{\"a\":0,\"" + std::string(4097, 'x') + "\":1}";
  expect_refused(parts.text(), "token 1 is 4097 bytes, limit 4096");
  parts.vocab = "{}";
  expect_refused(parts.text(), "vocabulary of 0 tokens: must be 1..2000000");
  GgufVocab vocab;
  vocab.model = "gpt2";
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("vocabulary of 0 tokens"));
}

TEST(TokenizerFiles, T07Scores) {
  GgufVocab vocab;
  vocab.model = "llama";
  vocab.tokens = {"a", "b", "c"};
  vocab.scores = {0.0f, 1.0f};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("scores has 2 entries, tokens has 3"));
  vocab.scores = {0.0f, 1.0f, std::nanf("")};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("score 2 is not finite"));
  vocab.scores = {0.0f, 1.0f, std::numeric_limits<float>::infinity()};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("score 2 is not finite"));
  vocab.scores = {0.0f, 1.0f, 2.0f};
  vocab.types = {1, 1};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("token_type has 2 entries, tokens has 3"));
  vocab.types = {1, 1, 77};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("token 2 has type 77"));
}

TEST(TokenizerFiles, T08SpecialIds) {
  GgufVocab vocab;
  vocab.model = "llama";
  vocab.tokens = {"a"};
  vocab.scores = {0.0f};
  vocab.eos = 999'999;
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("eos_token_id 999999 outside vocabulary"));
  vocab.eos = int64_t{1} << 40;
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("outside vocabulary"));
  vocab.eos = kNoToken;
  vocab.tokens = {"a", "a"};
  vocab.scores = {0.0f, 0.0f};
  EXPECT_THAT(spec_from_gguf(vocab).error().message, HasSubstr("token \"a\" has ids 0 and 1"));
  FileParts parts;
  parts.added = R"([{"id":9,"content":"a","special":true}])";
  expect_refused(parts.text(), "added token \"a\" has ids 0 and 9");
  parts.added = R"([{"id":5,"content":"x"},{"id":9,"content":"x"}])";
  expect_refused(parts.text(), "added token \"x\" has ids 5 and 9");
  parts.added = R"([{"id":0,"content":"x"}])";
  expect_refused(parts.text(), "token id 0 is both \"a\" and \"x\"");
  parts = {};
  parts.post = R"({"type":"BertProcessing","sep":["x",77],"cls":["y",1]})";
  expect_refused(parts.text(), "token id 77 outside vocabulary");
  parts = {};
  parts.model_type = "Unigram";
  parts.vocab = R"([["a",0.0]])";
  parts.merges = "[]";
  parts.pre = "null";
  parts.model_extra = R"(,"unk_id":7)";
  expect_refused(parts.text(), "unk_id 7 outside vocabulary");
}

std::string split_on(const std::string& json_pattern) {
  return R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":")" + json_pattern +
         R"("},"behavior":"Isolated","invert":false},)" +
         R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})";
}

TEST(TokenizerFiles, T11Patterns) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"((a)\\1)", "back-references not supported"},
      {R"((?<n>a)\\k<n>)", "back-references not supported"},
      {"(a(?R)?b)", "recursion not supported"},
      {"(a(?1)?b)", "recursion not supported"},
      {"a(?C1)b", "callouts not supported"},
      {"(*LIMIT_MATCH=9)a", "verbs not supported"},
      {"(?<=a{300})b", "look-behind"},
      {"(a", "pre_tokenizer regex: "},
      {std::string(65, '(') + "a" + std::string(65, ')'), "pre_tokenizer regex: "},
      {std::string(1 << 20, 'a'), "pre_tokenizer regex: 1048576 bytes, limit 4096"},
  };
  for (const auto& [pattern, want] : rows) {
    FileParts parts;
    parts.pre = split_on(pattern);
    expect_refused(parts.text(), want);
  }
}

TEST(TokenizerFiles, T11HostileMatch) {
  FileParts parts;
  parts.pre = split_on("(a+)+$");
  const Tokenizer tokenizer = make(parts);
  EXPECT_TRUE(tokenizer.encode("aaab ab").ok());
  const auto start = std::chrono::steady_clock::now();
  const auto result = tokenizer.encode(std::string(50, 'a') + "b");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kTokenizerLimit);
  EXPECT_EQ(result.error().message, "pre-tokenizer exceeded 1000000 match steps");
  // Each match is cheap, all of them together are not.
  parts.pre = split_on("a*c|a");
  const auto quadratic = make(parts).encode(std::string(300'000, 'a'));
  ASSERT_FALSE(quadratic.ok());
  EXPECT_EQ(quadratic.error().code, ErrorCode::kTokenizerLimit);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(5));
}

TEST(TokenizerFiles, T12Bytes) {
  // Every byte of an unpaired surrogate, an overlong form and 0xFF is kept as a byte token.
  GgufVocab vocab;
  vocab.model = "llama";
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    vocab.types.push_back(6);
  }
  vocab.scores.assign(256, 0.0f);
  vocab.add_space_prefix = 0;
  auto spec = spec_from_gguf(vocab);
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  auto tokenizer = Tokenizer::create(std::move(*spec));
  ASSERT_TRUE(tokenizer.ok());
  const std::string text("\xED\xA0\x80\xC0\xAF\xFF\0z", 8);
  auto ids = tokenizer->encode(text);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(tokenizer->decode_bytes(*ids, false), text);
}

TEST(TokenizerFiles, T13UserTextIsNoSpecialToken) {
  FileParts parts;
  parts.vocab = R"({"a":0,"b":1,"ab":2,"<":3,">":4,"<a":5,"<a>":6})";
  parts.merges = R"([["a","b"],["<","a"],["<a",">"]])";
  parts.added = R"([{"id":6,"content":"<a>","special":true,"normalized":false}])";
  parts.pre = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
  const Tokenizer tokenizer = make(parts);
  EXPECT_EQ(*tokenizer.encode("<a>"), (std::vector<TokenId>{6}));
  const std::vector<ByteRange> user{{0, 3}};
  EncodeOptions options;
  options.literal = user;
  EXPECT_EQ(*tokenizer.encode("<a>", options), (std::vector<TokenId>{5, 4}));
}

}  // namespace
}  // namespace millrace::text
