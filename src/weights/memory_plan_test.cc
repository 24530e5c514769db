#include "weights/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace millrace::weights {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1024 * 1024;

MemoryRequest request() {
  MemoryRequest out;
  out.available_bytes = 100 * kMiB;
  out.weight_bytes = 40 * kMiB;
  out.scratch_bytes = 10 * kMiB;
  out.block_bytes = kMiB;
  out.max_model_len = 100;
  out.blocks_per_seq = 4;
  out.max_num_seqs = 4;
  return out;
}

TEST(MemoryPlan, TakesWhatTheSequencesCanUse) {
  MemoryPlan plan = plan_memory(request()).value();
  EXPECT_EQ(plan.n_blocks, 16u);
  EXPECT_EQ(plan.kv_bytes, 16 * kMiB);
  EXPECT_EQ(plan.total_bytes, 66 * kMiB);
}

TEST(MemoryPlan, TakesWhatIsLeft) {
  MemoryRequest many = request();
  many.max_num_seqs = 1000;
  EXPECT_EQ(plan_memory(many).value().n_blocks, 50u);
}

TEST(MemoryPlan, TakesFourGiBOrOneSequence) {
  MemoryRequest large = request();
  large.available_bytes = 100'000 * kMiB;
  large.max_num_seqs = 256;
  large.blocks_per_seq = 1000;  // 1000 MiB a sequence
  EXPECT_EQ(plan_memory(large).value().kv_bytes, kDefaultKvBytes);
  large.blocks_per_seq = 5000;
  EXPECT_EQ(plan_memory(large).value().kv_bytes, 5000 * kMiB);
  large.kv_cache_bytes = 20'000 * kMiB;
  EXPECT_EQ(plan_memory(large).value().kv_bytes, 20'000 * kMiB);
}

TEST(MemoryPlan, ObeysTheFlag) {
  MemoryRequest asked = request();
  asked.kv_cache_bytes = 30 * kMiB;
  EXPECT_EQ(plan_memory(asked).value().n_blocks, 30u);
  asked.kv_cache_bytes = 51 * kMiB;
  EXPECT_EQ(plan_memory(asked).error().code, ErrorCode::kResource);
  EXPECT_THAT(plan_memory(asked).error().message, HasSubstr("--kv-cache-memory-bytes asks for 51.0 MiB"));
  asked.kv_cache_bytes = 3 * kMiB;
  EXPECT_THAT(plan_memory(asked).error().message, HasSubstr("--kv-cache-memory-bytes gives 3.0 MiB, raise it"));
}

TEST(MemoryPlan, RefusalCarriesNumbersAndFlags) {
  MemoryRequest tight = request();
  tight.blocks_per_seq = 51;
  Result<MemoryPlan> plan = plan_memory(tight);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kResource);
  for (const char* part : {"weights 40.0 MiB", "working space 10.0 MiB", "KV cache 51.0 MiB", "100.0 MiB are available",
                           "--max-model-len", "--kv-cache-dtype"}) {
    EXPECT_THAT(plan.error().message, HasSubstr(part));
  }
  MemoryRequest none = request();
  none.available_bytes = 0;
  EXPECT_FALSE(plan_memory(none).ok());
}

TEST(MemoryPlan, EstimatesFollowTheModel) {
  testing::TinyModel tiny;
  tiny.format = tensor::Format::kQ4_0;
  tiny.tied = true;
  tiny.n_vocab = 500;  // padded to 512 rows
  std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
  ModelFile file = ModelFile::from_gguf(GgufFile::parse(bytes).value()).value();
  uint64_t per_layer = (256 + 128 + 128 + 256 + 512 + 512) * (256 / 32 * 18) + 256 * (512 / 32 * 18);
  uint64_t vectors = (2 * 2 + 1) * 256 * 4;
  EXPECT_EQ(packed_weight_bytes(file), 2 * per_layer + 512 * (256 / 32 * 18) + vectors);
  EXPECT_EQ(kv_bytes_per_token(file.desc(), tensor::Format::kF16), 2u * 2 * 2 * 64 * 2);
}

}  // namespace
}  // namespace millrace::weights
