// Loading of Bert. Thread: the loader.
#include "models/architectures.h"
#include "models/bert.h"

namespace millrace::models {

using layers::WeightPacker;
using weights::WeightRole;

namespace {

constexpr int64_t kHeadDimUnit = 16;  // heads start on 64-byte lines

Result<std::vector<float>> read_values(const weights::ModelFile& file, WeightRole role) {
  tensor::TensorView view = TRY(file.weight(role));
  std::vector<float> out(static_cast<size_t>(view.shape.n_values()));
  for (int64_t row = 0; row < view.rows(); ++row) tensor::decode_row(out.data() + row * view.cols(), view, row);
  return out;
}

Result<layers::Embedding> table_of(const weights::ModelFile& file, WeightRole role) {
  tensor::TensorView view = TRY(file.weight(role));
  return layers::Embedding{.packed = nullptr, .file = view, .d_model = file.desc().d_model};
}

}  // namespace

Result<void> Bert::declare_layer(WeightPacker& packer, uint32_t i) {
  BertLayer& layer = layers_[i];
  layers::Attention& attention = layer.attention;
  auto d_model = static_cast<int64_t>(desc_.d_model);
  layer.attn_norm.n = layer.ffn_norm.n = d_model;
  layer.attn_norm.eps = layer.ffn_norm.eps = desc_.rms_eps;
  TRY(packer.add_vector(layer.attn_norm.weight, WeightRole::kAttnNorm, i, 0.0f));
  TRY(packer.add_vector(layer.attn_norm.bias, WeightRole::kAttnNormBias, i, 0.0f));
  TRY(packer.add_vector(layer.ffn_norm.weight, WeightRole::kFfnNorm, i, 0.0f));
  TRY(packer.add_vector(layer.ffn_norm.bias, WeightRole::kFfnNormBias, i, 0.0f));
  TRY(packer.add_vector(attention.q_bias, WeightRole::kAttnQBias, i, 0.0f));
  TRY(packer.add_vector(attention.k_bias, WeightRole::kAttnKBias, i, 0.0f));
  TRY(packer.add_vector(attention.v_bias, WeightRole::kAttnVBias, i, 0.0f));
  TRY(packer.add_vector(layer.attn_out_bias, WeightRole::kAttnOutBias, i, 0.0f));
  TRY(packer.add_vector(layer.ffn.up_bias, WeightRole::kFfnUpBias, i, 0.0f));
  TRY(packer.add_vector(layer.ffn.down_bias, WeightRole::kFfnDownBias, i, 0.0f));
  TRY(packer.add(attention.q, {WeightRole::kAttnQ}, i));
  TRY(packer.add(attention.k, {WeightRole::kAttnK}, i));
  TRY(packer.add(attention.v, {WeightRole::kAttnV}, i));
  TRY(packer.add(attention.out, {WeightRole::kAttnOut}, i));
  TRY(packer.add(layer.ffn.up, {WeightRole::kFfnUp}, i));
  TRY(packer.add(layer.ffn.down, {WeightRole::kFfnDown}, i));
  attention.shape = shape_;
  attention.layer = i;
  attention.scale = desc_.attention_scale;
  layer.ffn.d_ff = desc_.d_ff;
  return {};
}

Result<void> Bert::load_head(const weights::ModelFile& file) {
  if (desc_.n_labels == 0) return {};
  pooler_ = TRY(read_values(file, WeightRole::kPooler));
  pooler_bias_ = TRY(read_values(file, WeightRole::kPoolerBias));
  classifier_ = TRY(read_values(file, WeightRole::kClassifier));
  classifier_bias_ = TRY(read_values(file, WeightRole::kClassifierBias));
  return {};
}

Result<void> Bert::load(const weights::ModelFile& file, const LoadOptions& options) {
  if (desc_.head_dim % kHeadDimUnit != 0) {
    return Error{
        ErrorCode::kBadFile, fmt::format("head size {}: must be a multiple of {}", desc_.head_dim, kHeadDimUnit), {}};
  }
  shape_ = {.n_heads = desc_.n_heads, .n_kv_heads = desc_.n_kv_heads, .head_dim = desc_.head_dim, .ordered = false};
  layers_.resize(desc_.n_layers);
  WeightPacker packer(options.table, file);
  for (uint32_t i = 0; i < desc_.n_layers; ++i) {
    TRY(declare_layer(packer, i));
    heads_at_once_ = heads_at_once_ && layers_[i].attention.can_quantize_heads();
  }
  for (BertLayer& layer : layers_) layer.attention.quantize_heads = heads_at_once_;
  embedding_norm_.n = desc_.d_model;
  embedding_norm_.eps = desc_.rms_eps;
  TRY(packer.add_vector(embedding_norm_.weight, WeightRole::kEmbeddingNorm, 0, 0.0f));
  TRY(packer.add_vector(embedding_norm_.bias, WeightRole::kEmbeddingNormBias, 0, 0.0f));
  words_ = TRY(table_of(file, WeightRole::kTokenEmbedding));
  positions_ = TRY(table_of(file, WeightRole::kPositionEmbedding));
  types_ = TRY(table_of(file, WeightRole::kTokenTypeEmbedding));
  TRY(load_head(file));
  memory_ = TRY(packer.pack(options.pool, options.progress));
  return {};
}

Result<std::unique_ptr<Model>> load_bert(const weights::ModelFile& file, const LoadOptions& options) {
  auto bert = std::make_unique<Bert>(file);
  TRY(bert->load(file, options));
  return std::unique_ptr<Model>(std::move(bert));
}

}  // namespace millrace::models
