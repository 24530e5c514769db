// ModelDesc: the hyperparameters of a model, validated once; nothing above this file looks at raw metadata again.
// Built from GGUF metadata or from a Hugging Face config.json; every value is inside the range of its row in
// model_desc_*.cc, so kernels may trust products of them.
// Invariants: n_heads % n_kv_heads == 0; head_dim, rope_dims even, rope_dims <= head_dim; layer_window has n_layers
// entries. Thread: any (immutable after load).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"
#include "tensor/tensor_view.h"

namespace millrace::weights {

class GgufFile;

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3, kGemma3, kBert };
std::string_view architecture_name(Architecture architecture);  // "llama", "qwen2", "qwen3", "gemma3", "bert"

enum class FileKind : uint8_t { kGguf, kSafetensors };

// Which two values of a head rotate together: (2i, 2i+1), or (i, i + rope_dims/2). GGUF files of the llama
// architecture have q and k permuted to the first; everything else uses the second.
enum class RopeStyle : uint8_t { kInterleaved, kHalfSplit };

enum class Activation : uint8_t { kSilu, kGeluTanh, kGelu };

// How a checkpoint makes one embedding of a text; kUnset: it does not say.
enum class EmbeddingRule : uint8_t { kUnset, kMean, kFirst, kLast };

enum class RopeScalingKind : uint8_t {
  kNone,
  kLinear,   // frequencies divided by factor
  kLlama3,   // frequencies stretched by wavelength (Llama 3.1, transformers modeling_rope_utils.py)
  kFactors,  // frequency i divided by value i of the tensor WeightRole::kRopeFreqs (GGUF), [rope_dims/2] f32
};

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_len = 8192.0;  // tokens
};

struct ModelDesc {
  Architecture architecture = Architecture::kLlama;
  FileKind file_kind = FileKind::kGguf;
  std::string name;  // for people; may be empty

  uint32_t n_layers = 0;
  uint32_t d_model = 0;
  uint32_t d_ff = 0;
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t n_vocab = 0;        // rows of the embedding (a tokenizer may have fewer)
  uint32_t max_len = 0;        // tokens the model was trained for
  uint32_t usual_len = 0;      // tokens its inputs are cut to unless asked otherwise; 0 = max_len
  uint32_t n_token_types = 0;  // bert: rows of the token type embedding
  uint32_t n_labels = 0;       // of the classification head; 0 = none
  EmbeddingRule embedding_rule = EmbeddingRule::kUnset;

  float rms_eps = 1e-5f;            // of every norm, bert's layer norms too
  float norm_weight_offset = 0.0f;  // added to every norm weight: 1 for gemma3 from safetensors, else 0
  float attention_scale = 0.0f;     // q.k is multiplied by this
  float embedding_scale = 1.0f;     // gemma3: sqrt(d_model), rounded to bf16 when the checkpoint is bf16
  float attention_softcap = 0.0f;   // 0 = none
  float logit_softcap = 0.0f;       // 0 = none
  Activation activation = Activation::kSilu;
  bool has_qkv_bias = false;     // qwen2
  bool has_qk_norm = false;      // qwen3, gemma3: RMS norm over head_dim, before rotation
  bool has_post_norms = false;   // gemma3
  bool tied_embeddings = false;  // the output projection is the token embedding

  RopeStyle rope_style = RopeStyle::kHalfSplit;
  uint32_t rope_dims = 0;              // leading values of a head that rotate
  double rope_base = 10000.0;          // full-attention layers
  double rope_base_window = 10000.0;   // windowed layers (gemma3: its own; otherwise equal to rope_base)
  RopeScaling rope_scaling;            // full-attention layers
  RopeScaling rope_scaling_window;     // windowed layers (gemma3: none; otherwise equal to rope_scaling)
  std::vector<uint32_t> layer_window;  // [n_layers] tokens a query sees, itself included; 0 = all

  TokenId bos_id = kNoToken;
  TokenId pad_id = kNoToken;
  std::vector<TokenId> eos_ids;  // any of them ends generation (eos, eot, generation_config)
  bool add_bos = false;

  // Reads texts and has no output projection: no token ever follows.
  bool is_encoder() const { return architecture == Architecture::kBert; }
  bool is_window_layer(uint32_t layer) const { return layer_window[layer] != 0; }
  double rope_base_of(uint32_t layer) const { return is_window_layer(layer) ? rope_base_window : rope_base; }
  const RopeScaling& rope_scaling_of(uint32_t layer) const {
    return is_window_layer(layer) ? rope_scaling_window : rope_scaling;
  }
  tensor::KvLayerSpec kv_layer(uint32_t layer) const { return {n_kv_heads, head_dim, layer_window[layer]}; }
  uint32_t q_dim() const { return n_heads * head_dim; }
  uint32_t kv_dim() const { return n_kv_heads * head_dim; }
};

Result<ModelDesc> model_desc_from_gguf(const GgufFile& file);

struct HfConfigs {
  const Json* config = nullptr;             // config.json, an object
  const Json* generation_config = nullptr;  // or nullptr
  const Json* tokenizer_config = nullptr;   // or nullptr
  const Json* sentence_config = nullptr;    // sentence_bert_config.json, or nullptr
  const Json* pooling_config = nullptr;     // 1_Pooling/config.json, or nullptr
  std::string name;                         // file name for messages, "x/config.json"
};
Result<ModelDesc> model_desc_from_hf_config(const HfConfigs& configs);

}  // namespace millrace::weights
