// Tiny random checkpoints: the C++ half of tools/golden/tiny.py. A weight is a pure function of (seed, tensor name,
// index), so both halves hold the same f32 bits and transformers' logits of them lie in tests/golden/data/tiny.
// A shape is read from <name>.json there and written as GGUF bytes (any weight format) or as a Hugging Face folder.
// Invariant: names and permutations here follow the converters of the two kinds of file, not our own name map.
// Thread: one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/macros.h"
#include "base/philox.h"
#include "tensor/formats.h"
#include "tensor/shape.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/safetensors_writer.h"

namespace millrace::testing {

constexpr uint64_t kTinySeed = 20251121;
constexpr std::string_view kTinyFolder = "tests/golden/data/tiny/";

struct TinyShape {
  std::string name;
  Json config;                      // config.json of the checkpoint
  std::vector<TokenId> tokens;      // the golden input
  std::vector<uint32_t> positions;  // where golden logits were kept

  int64_t number(std::string_view key) const { return config.find(key)->as_int(); }
  std::string type() const { return config.find("model_type")->as_string(); }
  bool is_gemma3() const { return type() == "gemma3_text"; }
  std::string gguf_architecture() const { return is_gemma3() ? "gemma3" : type(); }
  bool tied() const { return config.find("tie_word_embeddings")->as_bool(); }
};

struct TinyTensor {
  std::string hf;
  std::string gguf;
  tensor::Shape shape;
  std::vector<float> values;
};

inline std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good(), "no such file: {}", path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline TinyShape load_tiny_shape(const std::string& name) {
  Result<Json> json = parse_json(read_whole(std::string(kTinyFolder) + name + ".json"), JsonLimits{});
  CHECK(json.ok(), "{}", json.error().message);
  TinyShape shape{.name = name, .config = *json->find("config")};
  for (const Json& token : json->find("tokens")->as_array()) {
    shape.tokens.push_back(static_cast<TokenId>(token.as_int()));
  }
  for (const Json& position : json->find("positions")->as_array()) {
    shape.positions.push_back(static_cast<uint32_t>(position.as_int()));
  }
  return shape;
}

// Golden logits [n_positions, vocab]: kind "f32", or "bf16kv" with K and V rounded to bf16.
inline std::vector<float> load_tiny_logits(const TinyShape& shape, const std::string& kind) {
  std::string bytes = read_whole(std::string(kTinyFolder) + shape.name + "." + kind);
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  CHECK(logits.size() == shape.positions.size() * static_cast<size_t>(shape.number("vocab_size")));
  return logits;
}

inline uint32_t tiny_bits(std::string_view name, uint64_t index) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return philox4x32(kTinySeed ^ hash, {static_cast<uint32_t>(index / 4), 0, 0, 0})[index % 4];
}

// Same bits as tiny.tensor() of tools/golden/tiny.py.
inline std::vector<float> tiny_values(const std::string& name, const tensor::Shape& shape, bool norm_plus_one) {
  float offset = 0.0f;
  float scale = 1.0f;  // biases
  if (name.ends_with("norm.weight")) {
    scale = 0.5f;
    offset = norm_plus_one ? 0.0f : 1.0f;
  } else if (name.ends_with("embed_tokens.weight") || name == "lm_head.weight") {
    scale = 0.4375f;
  } else if (!name.ends_with(".bias")) {
    bool qk = name.find(".q_proj.") != std::string::npos || name.find(".k_proj.") != std::string::npos;
    scale = (qk ? 4.0f : 2.5f) / std::sqrt(static_cast<float>(shape.cols()));
  }
  std::vector<float> values(static_cast<size_t>(shape.n_values()));
  uint64_t hash = 0xCBF29CE484222325;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  PhiloxBlock block{};
  for (size_t i = 0; i < values.size(); ++i) {
    if (i % 4 == 0) block = philox4x32(kTinySeed ^ hash, {static_cast<uint32_t>(i / 4), 0, 0, 0});
    values[i] = offset + (philox_unit_f32(block[i % 4]) - 0.5f) * scale;
  }
  return values;
}

namespace detail {

struct TinyName {
  std::string_view hf;
  std::string_view gguf;
  char rows;  // of the shape: q, k (KV dim), d (d_model), f (d_ff), h (head_dim)
  char cols;  // 0: a vector
};

// Source: transformers state dicts and the tensor maps of the `gguf` package.
constexpr TinyName kLayerNames[] = {
    {"input_layernorm.weight", "attn_norm.weight", 'd', 0},      {"self_attn.q_proj.weight", "attn_q.weight", 'q', 'd'},
    {"self_attn.k_proj.weight", "attn_k.weight", 'k', 'd'},      {"self_attn.v_proj.weight", "attn_v.weight", 'k', 'd'},
    {"self_attn.o_proj.weight", "attn_output.weight", 'd', 'q'}, {"mlp.gate_proj.weight", "ffn_gate.weight", 'f', 'd'},
    {"mlp.up_proj.weight", "ffn_up.weight", 'f', 'd'},           {"mlp.down_proj.weight", "ffn_down.weight", 'd', 'f'},
};
constexpr TinyName kPlainNorms[] = {{"post_attention_layernorm.weight", "ffn_norm.weight", 'd', 0}};
constexpr TinyName kGemmaNorms[] = {
    {"post_attention_layernorm.weight", "post_attention_norm.weight", 'd', 0},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight", 'd', 0},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", 'd', 0},
};
constexpr TinyName kBiases[] = {
    {"self_attn.q_proj.bias", "attn_q.bias", 'q', 0},
    {"self_attn.k_proj.bias", "attn_k.bias", 'k', 0},
    {"self_attn.v_proj.bias", "attn_v.bias", 'k', 0},
};
constexpr TinyName kQkNorms[] = {
    {"self_attn.q_norm.weight", "attn_q_norm.weight", 'h', 0},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", 'h', 0},
};

inline int64_t extent(const TinyShape& shape, char letter) {
  int64_t head_dim = shape.number("head_dim");
  if (letter == 'q') return shape.number("num_attention_heads") * head_dim;
  if (letter == 'k') return shape.number("num_key_value_heads") * head_dim;
  if (letter == 'f') return shape.number("intermediate_size");
  return letter == 'h' ? head_dim : shape.number("hidden_size");
}

inline void add_tensor(const TinyShape& shape, std::string hf, std::string gguf, tensor::Shape extents,
                       std::vector<TinyTensor>& out) {
  std::vector<float> values = tiny_values(hf, extents, shape.is_gemma3());
  out.push_back({std::move(hf), std::move(gguf), extents, std::move(values)});
}

template <size_t N>
void add_names(const TinyShape& shape, const TinyName (&names)[N], int64_t layer, std::vector<TinyTensor>& out) {
  for (const TinyName& name : names) {
    int64_t rows = extent(shape, name.rows);
    tensor::Shape extents = name.cols == 0 ? tensor::Shape{rows} : tensor::Shape{rows, extent(shape, name.cols)};
    add_tensor(shape, fmt::format("model.layers.{}.{}", layer, name.hf), fmt::format("blk.{}.{}", layer, name.gguf),
               extents, out);
  }
}

// Rows of q and k as the GGUF converter of the llama architecture orders them: (i, i + half) becomes (2i, 2i + 1).
inline std::vector<float> interleave_heads(const TinyTensor& tensor, int64_t head_dim) {
  std::vector<float> out(tensor.values.size());
  auto cols = static_cast<size_t>(tensor.shape.cols());
  for (int64_t row = 0; row < tensor.shape.rows(); ++row) {
    int64_t head = row / head_dim;
    int64_t at = row % head_dim;
    int64_t from = head * head_dim + (at % 2) * (head_dim / 2) + at / 2;
    std::memcpy(&out[static_cast<size_t>(row) * cols], &tensor.values[static_cast<size_t>(from) * cols],
                cols * sizeof(float));
  }
  return out;
}

// Divisors of the rotation frequencies under "llama3" scaling (transformers, modeling_rope_utils.py).
inline std::vector<float> llama3_factors(const TinyShape& shape) {
  const Json& scaling = *shape.config.find("rope_scaling");
  double factor = scaling.find("factor")->as_double();
  double low = scaling.find("low_freq_factor")->as_double();
  double high = scaling.find("high_freq_factor")->as_double();
  double original = scaling.find("original_max_position_embeddings")->as_double();
  double base = shape.config.find("rope_theta")->as_double();
  auto dims = static_cast<int>(shape.number("head_dim"));
  std::vector<float> factors;
  for (int i = 0; i < dims; i += 2) {
    double turns = original * std::pow(base, -static_cast<double>(i) / dims) / (2.0 * std::numbers::pi);
    double blend = (turns - low) / (high - low);
    double divisor = turns < low ? factor : turns > high ? 1.0 : 1.0 / ((1.0 - blend) / factor + blend);
    factors.push_back(static_cast<float>(divisor));
  }
  return factors;
}

inline void add_gguf_keys(const TinyShape& shape, GgufWriter& writer) {
  std::string a = shape.gguf_architecture() + ".";
  auto u32 = [&](std::string_view key, std::string_view from) {
    writer.add_u32(a + std::string(key), static_cast<uint32_t>(shape.number(from)));
  };
  auto f32 = [&](std::string_view key, std::string_view from) {
    writer.add_f32(a + std::string(key), static_cast<float>(shape.config.find(from)->as_double()));
  };
  writer.add("general.architecture", shape.gguf_architecture());
  u32("block_count", "num_hidden_layers");
  u32("context_length", "max_position_embeddings");
  u32("embedding_length", "hidden_size");
  u32("feed_forward_length", "intermediate_size");
  u32("attention.head_count", "num_attention_heads");
  u32("attention.head_count_kv", "num_key_value_heads");
  u32("attention.key_length", "head_dim");
  u32("attention.value_length", "head_dim");
  u32("rope.dimension_count", "head_dim");
  u32("vocab_size", "vocab_size");
  f32("attention.layer_norm_rms_epsilon", "rms_norm_eps");
  f32("rope.freq_base", "rope_theta");
  if (shape.is_gemma3()) u32("attention.sliding_window", "sliding_window");
  const Json* scaling = shape.config.get("rope_scaling");
  if (scaling != nullptr && scaling->find("rope_type")->as_string() == "linear") {
    writer.add(a + "rope.scaling.type", "linear");
    writer.add_f32(a + "rope.scaling.factor", static_cast<float>(scaling->find("factor")->as_double()));
  }
}

}  // namespace detail

inline std::vector<TinyTensor> tiny_tensors(const TinyShape& shape) {
  std::vector<TinyTensor> out;
  int64_t d_model = shape.number("hidden_size");
  int64_t n_vocab = shape.number("vocab_size");
  detail::add_tensor(shape, "model.embed_tokens.weight", "token_embd.weight", {n_vocab, d_model}, out);
  for (int64_t layer = 0; layer < shape.number("num_hidden_layers"); ++layer) {
    detail::add_names(shape, detail::kLayerNames, layer, out);
    if (shape.is_gemma3()) {
      detail::add_names(shape, detail::kGemmaNorms, layer, out);
    } else {
      detail::add_names(shape, detail::kPlainNorms, layer, out);
    }
    if (shape.type() == "qwen2") detail::add_names(shape, detail::kBiases, layer, out);
    if (shape.type() == "qwen3" || shape.is_gemma3()) detail::add_names(shape, detail::kQkNorms, layer, out);
  }
  detail::add_tensor(shape, "model.norm.weight", "output_norm.weight", {d_model}, out);
  if (!shape.tied()) detail::add_tensor(shape, "lm_head.weight", "output.weight", {n_vocab, d_model}, out);
  return out;
}

struct TinyGgufOptions {
  tensor::Format format = tensor::Format::kF32;    // of matrices; Q8_0 where K does not hold its groups
  bool decoded = false;                            // the same values, decoded and stored as f32
  tensor::Format v_format = tensor::Format::kF32;  // with mixed_v: another format for attn_v and ffn_down
  bool mixed_v = false;
  TokenId overflows = kNoToken;  // add_overflow()
};

// Finite weights with which a sequence that contains `token` overflows, and no other: dimension 0 of the residual is 1
// for this token and 0 for all others, no layer writes it, and neuron 0 of every MLP multiplies it by 3e38. Matrices as
// f32.
inline void add_overflow(TinyTensor& tensor, TokenId token) {
  auto cols = static_cast<size_t>(tensor.shape.cols());
  if (tensor.hf.ends_with("embed_tokens.weight")) {
    for (size_t i = 0; i < tensor.values.size(); i += cols) tensor.values[i] = 0.0f;
    tensor.values[static_cast<size_t>(token) * cols] = 1.0f;
  } else if (tensor.hf.ends_with("o_proj.weight") || tensor.hf.ends_with("down_proj.weight")) {
    std::fill_n(tensor.values.begin(), cols, 0.0f);
  } else if (tensor.hf.ends_with("gate_proj.weight") || tensor.hf.ends_with("up_proj.weight")) {
    tensor.values[0] = 3e38f;
  }
}

inline std::vector<uint8_t> tiny_gguf(const TinyShape& shape, const TinyGgufOptions& options = {}) {
  GgufWriter writer;
  detail::add_gguf_keys(shape, writer);
  for (TinyTensor& tensor : tiny_tensors(shape)) {
    if (options.overflows != kNoToken) add_overflow(tensor, options.overflows);
    bool is_qk = tensor.hf.ends_with("q_proj.weight") || tensor.hf.ends_with("k_proj.weight");
    if (shape.type() == "llama" && is_qk) tensor.values = detail::interleave_heads(tensor, shape.number("head_dim"));
    if (tensor.shape.n_dims == 1) {
      bool is_norm = tensor.hf.ends_with("norm.weight");
      for (float& value : tensor.values) value += shape.is_gemma3() && is_norm ? 1.0f : 0.0f;
      writer.add_tensor(tensor.gguf, tensor::Format::kF32, tensor.shape, tensor.values);
      continue;
    }
    bool other = options.mixed_v && (tensor.hf.ends_with("v_proj.weight") || tensor.hf.ends_with("down_proj.weight"));
    tensor::Format format = other ? options.v_format : options.format;
    if (tensor.shape.cols() % tensor::format_info(format).group_values != 0) format = tensor::Format::kQ8_0;
    if (options.decoded) {
      const tensor::FormatInfo& info = tensor::format_info(format);
      int64_t n_groups = tensor.shape.n_values() / info.group_values;
      std::vector<uint8_t> groups(static_cast<size_t>(n_groups) * info.group_bytes);
      info.encode(groups.data(), tensor.values.data(), n_groups);
      info.decode(tensor.values.data(), groups.data(), n_groups);
      format = tensor::Format::kF32;
    }
    writer.add_tensor(tensor.gguf, format, tensor.shape, tensor.values);
  }
  const Json* scaling = shape.config.get("rope_scaling");
  if (scaling != nullptr && scaling->find("rope_type")->as_string() == "llama3") {
    std::vector<float> factors = detail::llama3_factors(shape);
    writer.add_tensor("rope_freqs.weight", tensor::Format::kF32, {static_cast<int64_t>(factors.size())}, factors);
  }
  return writer.build();
}

// Writes config.json and model.safetensors into `folder`. dtype: F32, F16 or BF16.
inline void write_tiny_safetensors(const TinyShape& shape, const std::string& folder, std::string_view dtype = "F32") {
  SafetensorsWriter writer;
  for (const TinyTensor& tensor : tiny_tensors(shape)) writer.add(tensor.hf, dtype, tensor.shape, tensor.values);
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json", std::ios::binary) << shape.config.dump();
  std::ofstream(folder + "/model.safetensors", std::ios::binary) << writer.build();
}

}  // namespace millrace::testing
