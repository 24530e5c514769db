// Loading of Decoder: declares every weight, packs them, builds the rotation tables' frequencies.
// Thread: the loader.
#include <algorithm>

#include "models/decoder.h"

namespace millrace::models {

using layers::WeightPacker;
using weights::WeightRole;

namespace {

constexpr int64_t kHeadDimUnit = 16;  // heads start on 64-byte lines

// Index of value in list, added when it is new.
template <class T>
int32_t index_of(std::vector<T>& list, const T& value) {
  auto found = std::find(list.begin(), list.end(), value);
  if (found == list.end()) found = list.insert(list.end(), value);
  return static_cast<int32_t>(found - list.begin());
}

Result<void> check_runnable(const weights::ModelDesc& desc, const weights::ModelFile& file) {
  if (desc.head_dim % kHeadDimUnit != 0 || desc.rope_dims % 2 != 0) {
    return Error{
        ErrorCode::kBadFile, fmt::format("head size {}: must be a multiple of {}", desc.head_dim, kHeadDimUnit), {}};
  }
  auto activation = desc.activation;
  if (activation != weights::Activation::kSilu && activation != weights::Activation::kGeluTanh) {
    return Error{ErrorCode::kBadFile, "activation is not supported", {}};
  }
  if (!desc.tied_embeddings && !file.has(WeightRole::kOutput)) {
    return Error{ErrorCode::kBadFile, "there is no output projection", {}};
  }
  return {};
}

}  // namespace

Result<void> Decoder::make_ropes(const weights::ModelFile& file) {
  std::vector<float> factors;
  if (file.has(WeightRole::kRopeFreqs)) {
    tensor::TensorView view = TRY(file.weight(WeightRole::kRopeFreqs));
    factors.resize(static_cast<size_t>(view.shape.n_values()));
    tensor::decode_row(factors.data(), view, 0);
  }
  for (uint32_t i = 0; i < desc_.n_layers; ++i) {
    layers::Attention& attention = layers_[i].attention;
    layers::Rope rope(desc_.rope_style, desc_.rope_dims, desc_.rope_base_of(i), desc_.rope_scaling_of(i), factors);
    attention.rope_idx = index_of(ropes_, rope);
    attention.plan_idx = index_of(windows_, int64_t{desc_.layer_window[i]});
  }
  if (ropes_.size() > 2 || windows_.size() > 2) {
    return Error{ErrorCode::kBadFile, "more than two kinds of attention layers are not supported", {}};
  }
  return {};
}

Result<void> Decoder::declare_layer(WeightPacker& packer, const weights::ModelFile& file, uint32_t i) {
  DecoderLayer& layer = layers_[i];
  layers::Attention& attention = layer.attention;
  float offset = desc_.norm_weight_offset;
  TRY(packer.add_vector(layer.attn_norm.weight, WeightRole::kAttnNorm, i, offset));
  TRY(packer.add_vector(layer.ffn_norm.weight, WeightRole::kFfnNorm, i, offset));
  layer.attn_norm.eps = layer.ffn_norm.eps = desc_.rms_eps;
  if (blocks_.post_norms) {
    TRY(packer.add_vector(layer.post_attn_norm.weight, WeightRole::kPostAttnNorm, i, offset));
    TRY(packer.add_vector(layer.post_ffn_norm.weight, WeightRole::kPostFfnNorm, i, offset));
    layer.post_attn_norm.eps = layer.post_ffn_norm.eps = desc_.rms_eps;
  }
  if (blocks_.qk_norm) {
    TRY(packer.add_vector(attention.q_norm, WeightRole::kAttnQNorm, i, offset));
    TRY(packer.add_vector(attention.k_norm, WeightRole::kAttnKNorm, i, offset));
  }
  if (blocks_.qkv_bias) {
    if (file.has(WeightRole::kAttnQBias, i)) TRY(packer.add_vector(attention.q_bias, WeightRole::kAttnQBias, i, 0.0f));
    if (file.has(WeightRole::kAttnKBias, i)) TRY(packer.add_vector(attention.k_bias, WeightRole::kAttnKBias, i, 0.0f));
    if (file.has(WeightRole::kAttnVBias, i)) TRY(packer.add_vector(attention.v_bias, WeightRole::kAttnVBias, i, 0.0f));
  }
  TRY(packer.add(attention.q, {WeightRole::kAttnQ}, i));
  TRY(packer.add(attention.k, {WeightRole::kAttnK}, i));
  TRY(packer.add(attention.v, {WeightRole::kAttnV}, i));
  TRY(packer.add(attention.out, {WeightRole::kAttnOut}, i));
  TRY(packer.add(layer.mlp.gate, {WeightRole::kFfnGate}, i));
  TRY(packer.add(layer.mlp.up, {WeightRole::kFfnUp}, i));
  TRY(packer.add(layer.mlp.down, {WeightRole::kFfnDown}, i));
  attention.shape = shape_;
  attention.layer = i;
  attention.norm_eps = desc_.rms_eps;
  attention.scale = desc_.attention_scale;
  attention.softcap = desc_.attention_softcap;
  layer.mlp.d_ff = desc_.d_ff;
  return {};
}

Result<void> Decoder::load(const weights::ModelFile& file, const LoadOptions& options) {
  TRY(check_runnable(desc_, file));
  shape_ = {desc_.n_heads, desc_.n_kv_heads, desc_.head_dim};
  layers_.resize(desc_.n_layers);
  TRY(make_ropes(file));
  WeightPacker packer(options.table, file);
  for (uint32_t i = 0; i < desc_.n_layers; ++i) {
    TRY(declare_layer(packer, file, i));
    bool silu = desc_.activation == weights::Activation::kSilu;
    heads_at_once_ = heads_at_once_ && layers_[i].attention.can_quantize_heads();
    layers_[i].mlp.act = silu ? options.table.silu_mul : options.table.gelu_mul;
  }
  for (DecoderLayer& layer : layers_) layer.attention.quantize_heads = heads_at_once_;
  TRY(packer.add_vector(output_norm_.weight, WeightRole::kOutputNorm, 0, desc_.norm_weight_offset));
  output_norm_.eps = desc_.rms_eps;
  TRY(packer.add(output_, {WeightRole::kOutput}, 0));
  embedding_ = {.packed = nullptr, .file = {}, .scale = desc_.embedding_scale, .d_model = desc_.d_model};
  if (desc_.tied_embeddings) {
    embedding_.packed = &output_;
  } else {
    embedding_.file = TRY(file.weight(WeightRole::kTokenEmbedding));
  }
  memory_ = TRY(packer.pack(options.pool, options.progress, options.image));
  return {};
}

Result<std::unique_ptr<Model>> load_decoder(const weights::ModelFile& file, const LoadOptions& options,
                                            DecoderBlocks blocks) {
  auto decoder = std::make_unique<Decoder>(file, blocks);
  TRY(decoder->load(file, options));
  return std::unique_ptr<Model>(std::move(decoder));
}

}  // namespace millrace::models
