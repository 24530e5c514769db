// ModelFile: every architecture and format binds; wrong shapes and missing tensors are named.
#include "weights/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tensor/formats.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace millrace::weights {
namespace {

using ::testing::HasSubstr;
using testing::TinyModel;

Result<ModelFile> open_bytes(const std::vector<uint8_t>& bytes) {
  Result<GgufFile> file = GgufFile::parse(bytes);
  if (!file.ok()) return file.take_error();
  return ModelFile::from_gguf(std::move(file).value());
}

TEST(ModelFile, EveryArchitectureAndFormatBinds) {
  for (Architecture each : {Architecture::kLlama, Architecture::kQwen2, Architecture::kQwen3, Architecture::kGemma3}) {
    for (const tensor::FormatInfo& info : tensor::kFormats) {
      TinyModel tiny;
      tiny.architecture = each;
      tiny.format = info.format;
      tiny.n_layers = 1;
      tiny.d_ff = 256;
      tiny.n_vocab = 64;
      std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
      Result<ModelFile> file = open_bytes(bytes);
      ASSERT_TRUE(file.ok()) << file.error().message;
      EXPECT_EQ(file->weight(WeightRole::kFfnDown, 0).value().shape.text(), "256x256");
      EXPECT_EQ(file->weight(WeightRole::kOutput).value().format, info.format);
      EXPECT_TRUE(file->unused_tensors().empty());
      EXPECT_EQ(file->has(WeightRole::kAttnQBias), each == Architecture::kQwen2);
      EXPECT_EQ(file->has(WeightRole::kAttnQNorm), each == Architecture::kQwen3 || each == Architecture::kGemma3);
      EXPECT_FALSE(file->has(WeightRole::kRopeFreqs));
    }
  }
}

TEST(ModelFile, TiedOutputIsTheEmbedding) {
  TinyModel tiny;
  tiny.tied = true;
  std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
  ModelFile file = open_bytes(bytes).value();
  EXPECT_EQ(file.weight(WeightRole::kOutput).value().data, file.weight(WeightRole::kTokenEmbedding).value().data);
  EXPECT_TRUE(file.has(WeightRole::kOutput));
}

TEST(ModelFile, RopeFactorsAreFound) {
  testing::GgufWriter writer;
  TinyModel tiny;
  testing::add_tiny_keys(writer, tiny);
  testing::add_tiny_tensors(writer, tiny);
  writer.add_tensor("rope_freqs.weight", tensor::Format::kF32, {32}, std::vector<float>(32, 2.0f));
  writer.add_tensor("blk.0.unheard_of", tensor::Format::kF32, {1}, std::vector<float>(1, 2.0f));
  std::vector<uint8_t> bytes = writer.build();
  ModelFile file = open_bytes(bytes).value();
  EXPECT_EQ(file.desc().rope_scaling.kind, RopeScalingKind::kFactors);
  EXPECT_TRUE(file.has(WeightRole::kRopeFreqs));
  EXPECT_EQ(file.unused_tensors(), (std::vector<std::string>{"blk.0.unheard_of"}));
}

TEST(ModelFile, RealFilesBindWithoutLeftovers) {
  for (const char* name : {"SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"}) {
    Result<ModelFile> file = ModelFile::open(std::string(MILLRACE_SOURCE_DIR "/models/") + name);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_TRUE(file->unused_tensors().empty());
    EXPECT_NE(file->gguf(), nullptr);
  }
}

// A folder in Hugging Face layout with the weights of a tiny model, names behind prefix.
void write_folder(const testing::TempDir& dir, const std::string& prefix, bool tied, bool with_head) {
  TinyModel tiny;
  tiny.n_layers = 1;
  tiny.n_vocab = 64;
  tiny.tied = tied;
  ModelDesc desc = testing::tiny_desc(tiny);
  desc.file_kind = FileKind::kSafetensors;
  testing::SafetensorsWriter writer;
  for (const WeightRow& row : weight_rows()) {
    bool head = row.role == WeightRole::kOutput;
    if (head ? !with_head : weight_presence(desc, row.role) == WeightPresence::kAbsent) continue;
    tensor::Shape shape = weight_shape(desc, row.role);
    std::vector<float> values(static_cast<size_t>(shape.n_values()), 1.0f);
    writer.add(weight_name(desc, row.role, 0, prefix), "BF16", shape, values);
  }
  dir.write("model.safetensors", writer.build());
  dir.write("config.json", std::string(R"({"model_type":"llama","num_hidden_layers":1,"hidden_size":256,
    "intermediate_size":512,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":64,"tie_word_embeddings":)") +
                               (tied ? "true}" : "false}"));
}

TEST(ModelFile, FoldersBindUnderAnyPrefix) {
  for (const char* prefix : {"model.", "language_model.model.", "model.language_model.", ""}) {
    testing::TempDir dir;
    write_folder(dir, prefix, false, true);
    Result<ModelFile> file = ModelFile::open(dir.path());
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->weight(WeightRole::kAttnK, 0).value().shape.text(), "128x256");
    EXPECT_TRUE(file->unused_tensors().empty());
    EXPECT_NE(file->safetensors(), nullptr);
  }
}

TEST(ModelFile, QuantisesFloatMatricesAtLoad) {
  testing::TempDir dir;
  write_folder(dir, "model.", false, true);
  ModelFile file = ModelFile::open(dir.path()).value();
  auto format_of = [&](WeightRole role) { return file.format_in_memory(role, file.weight(role, 0).value()); };
  EXPECT_EQ(format_of(WeightRole::kFfnDown), tensor::Format::kBF16);
  ASSERT_TRUE(file.quantize(tensor::Format::kQ4_K).ok());
  EXPECT_EQ(format_of(WeightRole::kFfnDown), tensor::Format::kQ4_K);
  EXPECT_EQ(format_of(WeightRole::kOutput), tensor::Format::kQ8_0);
  EXPECT_EQ(format_of(WeightRole::kTokenEmbedding), tensor::Format::kBF16);  // untied: rows are read from the file
  EXPECT_EQ(format_of(WeightRole::kAttnNorm), tensor::Format::kBF16);
  tensor::TensorView odd = file.weight(WeightRole::kFfnDown, 0).value();
  odd.shape.dims[1] = 288;  // columns: 32 divides them, 256 does not
  EXPECT_EQ(file.format_in_memory(WeightRole::kFfnDown, odd), tensor::Format::kQ8_0);
  odd.shape.dims[1] = 290;
  EXPECT_EQ(file.format_in_memory(WeightRole::kFfnDown, odd), tensor::Format::kBF16);
}

TEST(ModelFile, QuantisedFilesAreNotQuantisedAgain) {
  std::vector<uint8_t> bytes = testing::tiny_gguf();
  ModelFile file = open_bytes(bytes).value();
  Result<void> again = file.quantize(tensor::Format::kQ4_0);
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.error().message, HasSubstr("--quantization Q4_0: want weights in F32, F16 or BF16"));
  EXPECT_THAT(again.error().message, HasSubstr("are Q8_0 already"));
  EXPECT_FALSE(file.quantization().has_value());
}

TEST(ModelFile, TiedFolders) {
  for (bool with_head : {false, true}) {
    testing::TempDir dir;
    write_folder(dir, "model.", true, with_head);
    Result<ModelFile> file = ModelFile::open(dir.path());
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_TRUE(file->unused_tensors().empty());
  }
  testing::TempDir dir;
  write_folder(dir, "model.", false, false);
  EXPECT_THAT(ModelFile::open(dir.path()).error().message, HasSubstr("1 tensors are missing: lm_head.weight"));
}

}  // namespace
}  // namespace millrace::weights
