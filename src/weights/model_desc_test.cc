// ModelDesc from both kinds of metadata: the two real files, the configs behind the golden checkpoints, the ranges.
#include "weights/model_desc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/tiny_model.h"
#include "weights/gguf.h"

namespace millrace::weights {
namespace {

using ::testing::HasSubstr;

Result<ModelDesc> from_text(const std::string& text) {
  Json config = parse_json(text).value();
  return model_desc_from_hf_config({.config = &config, .name = "m/config.json"});
}

TEST(ModelDesc, SmolLm2Gguf) {
  GgufFile file = GgufFile::open(MILLRACE_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf").value();
  Result<ModelDesc> made = model_desc_from_gguf(file);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const ModelDesc& desc = *made;
  EXPECT_EQ(desc.architecture, Architecture::kLlama);
  EXPECT_EQ(desc.n_layers, 30u);
  EXPECT_EQ(desc.d_model, 576u);
  EXPECT_EQ(desc.d_ff, 1536u);
  EXPECT_EQ(desc.n_heads, 9u);
  EXPECT_EQ(desc.n_kv_heads, 3u);
  EXPECT_EQ(desc.head_dim, 64u);
  EXPECT_EQ(desc.rope_dims, 64u);
  EXPECT_EQ(desc.n_vocab, 49152u);
  EXPECT_EQ(desc.max_len, 8192u);
  EXPECT_EQ(desc.rope_base, 100000.0);
  EXPECT_EQ(desc.rope_style, RopeStyle::kInterleaved);
  EXPECT_TRUE(desc.tied_embeddings);
  EXPECT_FALSE(desc.add_bos);
  EXPECT_EQ(desc.bos_id, 1);
  EXPECT_THAT(desc.eos_ids, ::testing::Contains(2));
  EXPECT_EQ(desc.kv_layer(7), (tensor::KvLayerSpec{3, 64, 0}));
}

TEST(ModelDesc, Gemma3Gguf) {
  GgufFile file = GgufFile::open(MILLRACE_SOURCE_DIR "/models/gemma-3-270m-q4_k_m.gguf").value();
  Result<ModelDesc> made = model_desc_from_gguf(file);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const ModelDesc& desc = *made;
  EXPECT_EQ(desc.architecture, Architecture::kGemma3);
  EXPECT_EQ(desc.head_dim, 256u);
  EXPECT_EQ(desc.n_vocab, 262144u);
  EXPECT_EQ(desc.activation, Activation::kGeluTanh);
  EXPECT_TRUE(desc.has_qk_norm && desc.has_post_norms && desc.tied_embeddings && desc.add_bos);
  EXPECT_EQ(desc.norm_weight_offset, 0.0f);
  EXPECT_FLOAT_EQ(desc.embedding_scale, 25.298221f);
  EXPECT_FLOAT_EQ(desc.attention_scale, 0.0625f);
  EXPECT_EQ(desc.rope_base_of(0), 10000.0);
  EXPECT_EQ(desc.rope_base_of(5), 1e6);
  for (uint32_t i = 0; i < 18; ++i) EXPECT_EQ(desc.layer_window[i], (i + 1) % 6 == 0 ? 0u : 512u);
  EXPECT_EQ(desc.eos_ids, (std::vector<TokenId>{1, 106}));  // <end_of_turn> by its text
}

Json golden_config(const std::string& name) {
  std::string path = MILLRACE_SOURCE_DIR "/tests/golden/data/tiny/" + name + ".json";
  return *parse_json(read_file(path, 16 << 20).value()).value().find("config");
}

TEST(ModelDesc, GoldenConfigs) {
  for (const char* name :
       {"llama", "llama_linear", "llama_odd", "llama_rope3", "mistral", "qwen2", "qwen3", "gemma3"}) {
    Json config = golden_config(name);
    Result<ModelDesc> made = model_desc_from_hf_config({.config = &config, .name = name});
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->n_layers, static_cast<uint32_t>(config.find("num_hidden_layers")->as_int()));
    EXPECT_EQ(made->rope_style, RopeStyle::kHalfSplit);
    EXPECT_EQ(made->layer_window.size(), made->n_layers);
    EXPECT_EQ(made->has_qkv_bias, std::string(name) == "qwen2");
  }
}

TEST(ModelDesc, Llama3Rope) {
  const std::string base = R"({"model_type":"llama","num_hidden_layers":2,"hidden_size":256,"intermediate_size":512,
    "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":512,"eos_token_id":[3,4],)";
  const std::string scaling = R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
    "original_max_position_embeddings":8192)";
  // The older and the newer spelling.
  for (const std::string& rope :
       {R"("rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3",)" + scaling + "}}",
        R"("rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3",)" + scaling + "}}"}) {
    Result<ModelDesc> made = from_text(base + rope);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->rope_base, 500000.0);
    EXPECT_EQ(made->rope_scaling.kind, RopeScalingKind::kLlama3);
    EXPECT_EQ(made->rope_scaling.factor, 8.0);
    EXPECT_EQ(made->rope_scaling.original_len, 8192.0);
    EXPECT_EQ(made->eos_ids, (std::vector<TokenId>{3, 4}));
  }
  EXPECT_THAT(from_text(base + R"("rope_scaling":{"rope_type":"yarn","factor":4.0}})").error().message,
              HasSubstr("rope_scaling.rope_type = \"yarn\" is not supported"));
}

TEST(ModelDesc, MistralWindowAndNull) {
  const std::string base = R"({"model_type":"mistral","num_hidden_layers":2,"hidden_size":256,"intermediate_size":512,
    "num_attention_heads":8,"vocab_size":512)";
  EXPECT_EQ(from_text(base + "}").value().layer_window, (std::vector<uint32_t>{4096, 4096}));
  EXPECT_EQ(from_text(base + R"(,"sliding_window":null})").value().layer_window, (std::vector<uint32_t>{0, 0}));
  EXPECT_EQ(from_text(base + R"(,"sliding_window":64})").value().layer_window, (std::vector<uint32_t>{64, 64}));
}

TEST(ModelDesc, Gemma3HubConfig) {
  // text_config as on the hub: most fields are left to the defaults of transformers
  Result<ModelDesc> made = from_text(R"({"model_type":"gemma3","dtype":"bfloat16","eos_token_id":[1,106],"text_config":{
    "hidden_size":2560,"intermediate_size":10240,"model_type":"gemma3_text","num_hidden_layers":34,
    "rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":1024}})");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->n_heads, 8u);
  EXPECT_EQ(made->n_kv_heads, 4u);
  EXPECT_EQ(made->head_dim, 256u);
  EXPECT_EQ(made->n_vocab, 262208u);
  EXPECT_EQ(made->layer_window[4], 1024u);
  EXPECT_EQ(made->layer_window[5], 0u);
  EXPECT_EQ(made->rope_scaling_of(5).factor, 8.0);
  EXPECT_EQ(made->rope_scaling_of(4).kind, RopeScalingKind::kNone);
  EXPECT_EQ(made->rope_base_of(5), 1e6);
  EXPECT_EQ(made->rope_base_of(4), 1e4);
  EXPECT_EQ(made->norm_weight_offset, 1.0f);
  EXPECT_EQ(made->embedding_scale, 50.5f);  // sqrt(2560) = 50.596 in bf16
  EXPECT_TRUE(made->tied_embeddings);
  EXPECT_EQ(made->eos_ids, (std::vector<TokenId>{1, 106}));
}

TEST(ModelDesc, GenerationConfigAddsEnds) {
  Json config = golden_config("llama");
  Json generation = parse_json(R"({"eos_token_id":[2,7]})").value();
  Json tokenizer = parse_json(R"({"add_bos_token":true})").value();
  ModelDesc desc =
      model_desc_from_hf_config(
          {.config = &config, .generation_config = &generation, .tokenizer_config = &tokenizer, .name = "x"})
          .value();
  EXPECT_EQ(desc.eos_ids, (std::vector<TokenId>{2, 7}));
  EXPECT_TRUE(desc.add_bos);
}

TEST(ModelDesc, QwenWindowsStartLate) {
  Result<ModelDesc> made = from_text(R"({"model_type":"qwen2","num_hidden_layers":4,"hidden_size":256,
    "intermediate_size":512,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":512,"use_sliding_window":true,
    "sliding_window":128,"max_window_layers":2})");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->layer_window, (std::vector<uint32_t>{0, 0, 128, 128}));
}

TEST(ModelDesc, TinyGgufOfEveryArchitecture) {
  for (Architecture each : {Architecture::kLlama, Architecture::kQwen2, Architecture::kQwen3, Architecture::kGemma3}) {
    testing::TinyModel tiny;
    tiny.architecture = each;
    tiny.tied = each == Architecture::kGemma3;
    std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
    Result<ModelDesc> made = model_desc_from_gguf(GgufFile::parse(bytes).value());
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->architecture, each);
    EXPECT_EQ(made->tied_embeddings, tiny.tied);
    EXPECT_EQ(made->rope_style, each == Architecture::kLlama ? RopeStyle::kInterleaved : RopeStyle::kHalfSplit);
  }
}

}  // namespace
}  // namespace millrace::weights
