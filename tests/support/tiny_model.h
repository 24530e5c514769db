// Tiny valid GGUF checkpoints of every architecture and weight format, with random weights, for tests and fuzz seeds.
// The weights are a pure function of the options: value i of tensor t is Philox(key t, counter i), uniform in
// (-scale, scale); norm weights are 1. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/philox.h"
#include "tensor/formats.h"
#include "tests/support/gguf_writer.h"
#include "weights/model_desc.h"
#include "weights/name_map.h"

namespace millrace::testing {

struct TinyModel {
  weights::Architecture architecture = weights::Architecture::kLlama;
  tensor::Format format = tensor::Format::kQ8_0;  // of the matrices; vectors are F32
  uint32_t n_layers = 2;
  uint32_t d_model = 256;
  uint32_t d_ff = 512;
  uint32_t n_heads = 4;
  uint32_t n_kv_heads = 2;
  uint32_t head_dim = 64;
  uint32_t n_vocab = 512;
  uint32_t max_len = 1024;
  uint32_t window = 0;  // attention.sliding_window; gemma3 always has one
  bool tied = false;
  float scale = 0.1f;
};

inline weights::ModelDesc tiny_desc(const TinyModel& tiny) {
  weights::ModelDesc desc;
  desc.architecture = tiny.architecture;
  desc.n_layers = tiny.n_layers;
  desc.d_model = tiny.d_model;
  desc.d_ff = tiny.d_ff;
  desc.n_heads = tiny.n_heads;
  desc.n_kv_heads = tiny.n_kv_heads;
  desc.head_dim = tiny.head_dim;
  desc.rope_dims = tiny.head_dim;
  desc.n_vocab = tiny.n_vocab;
  desc.tied_embeddings = tiny.tied;
  desc.has_qkv_bias = tiny.architecture == weights::Architecture::kQwen2;
  desc.has_post_norms = tiny.architecture == weights::Architecture::kGemma3;
  desc.has_qk_norm = desc.has_post_norms || tiny.architecture == weights::Architecture::kQwen3;
  return desc;
}

inline void add_tiny_keys(GgufWriter& writer, const TinyModel& tiny) {
  std::string name(weights::architecture_name(tiny.architecture));
  auto key = [&](const char* tail) { return name + "." + tail; };
  writer.add("general.architecture", name);
  writer.add("general.name", "tiny " + name);
  writer.add_u32(key("block_count"), tiny.n_layers);
  writer.add_u32(key("context_length"), tiny.max_len);
  writer.add_u32(key("embedding_length"), tiny.d_model);
  writer.add_u32(key("feed_forward_length"), tiny.d_ff);
  writer.add_u32(key("attention.head_count"), tiny.n_heads);
  writer.add_u32(key("attention.head_count_kv"), tiny.n_kv_heads);
  writer.add_u32(key("attention.key_length"), tiny.head_dim);
  writer.add_u32(key("attention.value_length"), tiny.head_dim);
  writer.add_f32(key("attention.layer_norm_rms_epsilon"), 1e-5f);
  writer.add_f32(key("rope.freq_base"), 10000.0f);
  bool gemma = tiny.architecture == weights::Architecture::kGemma3;
  uint32_t window = gemma && tiny.window == 0 ? 64 : tiny.window;
  if (window != 0) writer.add_u32(key("attention.sliding_window"), window);
  writer.add_u32("tokenizer.ggml.bos_token_id", 1);
  writer.add_u32("tokenizer.ggml.eos_token_id", 2);
}

inline std::vector<float> tiny_values(const tensor::Shape& shape, uint64_t key, float scale) {
  std::vector<float> values(static_cast<size_t>(shape.n_values()), 1.0f);
  if (shape.n_dims == 1) return values;
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits = philox4x32(key, {static_cast<uint32_t>(i), 0, 0, 0})[0];
    values[i] = scale * (2.0f * philox_unit_f32(bits) - 1.0f);
  }
  return values;
}

inline void add_tiny_tensors(GgufWriter& writer, const TinyModel& tiny) {
  weights::ModelDesc desc = tiny_desc(tiny);
  uint64_t key = 0;
  for (const weights::WeightRow& row : weights::weight_rows()) {
    if (weights::weight_presence(desc, row.role) == weights::WeightPresence::kAbsent) continue;
    tensor::Shape shape = weights::weight_shape(desc, row.role);
    tensor::Format format = shape.n_dims == 1 ? tensor::Format::kF32 : tiny.format;
    for (uint32_t layer = 0; layer < (row.per_layer ? tiny.n_layers : 1); ++layer) {
      std::vector<float> values = tiny_values(shape, ++key, tiny.scale);
      writer.add_tensor(weights::weight_name(desc, row.role, layer, ""), format, shape, values);
    }
  }
}

inline std::vector<uint8_t> tiny_gguf(const TinyModel& tiny = {}) {
  GgufWriter writer;
  add_tiny_keys(writer, tiny);
  add_tiny_tensors(writer, tiny);
  return writer.build();
}

}  // namespace millrace::testing
