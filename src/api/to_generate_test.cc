#include "api/to_generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/errors.h"

namespace millrace::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<TokenId> kEos = {2};

AdmitContext chat_of(int64_t max_len) {
  return {.id = 9, .scope = 3, .now = 100, .random_seed = 77, .max_len = max_len, .eos_token_ids = kEos};
}

std::vector<TokenId> tokens(size_t n) {
  std::vector<TokenId> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<TokenId>(i);
  return out;
}

TEST(ToGenerateTest, MaxTokensIsResolved) {
  CommonParams params;
  EXPECT_EQ(to_generate(params, tokens(10), chat_of(100))->sampling.max_tokens, 90u);
  AdmitContext text = chat_of(100);
  text.completions = true;
  EXPECT_EQ(to_generate(params, tokens(10), text)->sampling.max_tokens, 16u);
  EXPECT_EQ(to_generate(params, tokens(95), text)->sampling.max_tokens, 5u);
  params.default_max_tokens = 8;
  EXPECT_EQ(to_generate(params, tokens(10), text)->sampling.max_tokens, 8u);
  params.max_tokens = -1;
  EXPECT_EQ(to_generate(params, tokens(10), text)->sampling.max_tokens, 90u);
  params.max_tokens = 90;
  EXPECT_EQ(to_generate(params, tokens(10), text)->sampling.max_tokens, 90u);
  params.max_tokens = 0;
  EXPECT_EQ(to_generate(params, tokens(100), text)->sampling.max_tokens, 0u);
}

TEST(ToGenerateTest, LengthErrorsNameBothLengths) {
  CommonParams params;
  auto full = to_generate(params, tokens(100), chat_of(100));
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::kContextLengthExceeded);
  EXPECT_THAT(full.error().message, HasSubstr("prompt of 100 tokens exceeds the available context size of 100"));
  for (int64_t max : {int64_t{91}, int64_t{1} << 31, INT64_MAX}) {
    params.max_tokens = max;
    auto over = to_generate(params, tokens(10), chat_of(100));
    ASSERT_FALSE(over.ok());
    EXPECT_THAT(over.error().message,
                HasSubstr("prompt of 10 tokens + max_tokens " + std::to_string(max) + " exceed 100"));
    EXPECT_EQ(error_body(with_lengths(over.error(), 10, 100), ErrorStyle::kLlama).find("exceed_context_size_error") !=
                  std::string::npos,
              true);
  }
  params.max_tokens_name = "max_completion_tokens";
  EXPECT_EQ(to_generate(params, tokens(10), chat_of(100)).error().param, "max_completion_tokens");
  EXPECT_THAT(to_generate(params, tokens(10), chat_of(100)).error().message, HasSubstr("max_completion_tokens 9223"));
  params.max_tokens = 0;
  EXPECT_FALSE(to_generate(params, tokens(101), chat_of(100)).ok());
  EXPECT_EQ(to_generate(params, {}, chat_of(100)).error().code, ErrorCode::kEmptyPrompt);
}

TEST(ToGenerateTest, OneSequenceMustFitThePool) {
  AdmitContext admit = chat_of(1000);
  admit.block_tokens = 16;
  admit.n_blocks = 4;
  CommonParams params;
  EXPECT_EQ(to_generate(params, tokens(10), admit)->sampling.max_tokens, 54u);
  params.max_tokens = 54;
  EXPECT_TRUE(to_generate(params, tokens(10), admit).ok());
  params.max_tokens = 55;
  EXPECT_THAT(to_generate(params, tokens(10), admit).error().message, HasSubstr("needs 5 blocks, pool has 4"));
  params.max_tokens.reset();
  EXPECT_EQ(to_generate(params, tokens(64), admit).error().code, ErrorCode::kContextLengthExceeded);
}

TEST(ToGenerateTest, FillsTheRequest) {
  CommonParams params;
  params.caller.priority = 5;
  params.caller.timeout_s = 2;
  params.n = 3;
  params.prompt.cache_prompt = false;
  auto request = to_generate(params, tokens(3), chat_of(100)).value();
  EXPECT_EQ(request.id, 9u);
  EXPECT_EQ(request.scope, 3u);
  EXPECT_EQ(request.band, -5);
  EXPECT_EQ(request.deadline, 100 + 2 * kSecond);
  EXPECT_EQ(request.sampling.seed, 77u);
  EXPECT_EQ(request.n, 3u);
  EXPECT_FALSE(request.use_prefix_cache);
  EXPECT_THAT(request.sampling.eos_token_ids, ElementsAre(2));
  params.seed = 5;
  params.caller.priority = INT64_MIN;
  EXPECT_EQ(to_generate(params, tokens(3), chat_of(100))->band, INT16_MAX);
  EXPECT_EQ(to_generate(params, tokens(3), chat_of(100))->sampling.seed, 5u);
  params.caller.priority = INT64_MAX;
  EXPECT_EQ(to_generate(params, tokens(3), chat_of(100))->band, INT16_MIN);
  params.sampling.min_tokens = 98;
  EXPECT_EQ(to_generate(params, tokens(3), chat_of(100)).error().param, "min_tokens");
}

TEST(ToGenerateTest, TruncatesTheSideAskedFor) {
  CommonParams params;
  params.prompt.truncate_prompt_tokens = 2;
  EXPECT_THAT(to_generate(params, tokens(5), chat_of(100))->prompt, ElementsAre(3, 4));
  params.prompt.truncation_side = TruncationSide::kRight;
  EXPECT_THAT(to_generate(params, tokens(5), chat_of(100))->prompt, ElementsAre(0, 1));
  params.prompt.truncate_prompt_tokens = -1;
  EXPECT_EQ(to_generate(params, tokens(500), chat_of(100))->prompt.size(), 99u);
  params.prompt.truncate_prompt_tokens = 0;
  EXPECT_EQ(to_generate(params, tokens(5), chat_of(100)).error().code, ErrorCode::kEmptyPrompt);
}

}  // namespace
}  // namespace millrace::api
