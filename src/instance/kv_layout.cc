#include "instance/kv_layout.h"

#include <fmt/format.h>

#include "base/checksum.h"
#include "base/sha256.h"

namespace millrace::instance {
namespace {

std::string scaling_text(const weights::RopeScaling& scaling) {
  return fmt::format("{} {} {} {} {}", static_cast<int>(scaling.kind), scaling.factor, scaling.low_freq_factor,
                     scaling.high_freq_factor, scaling.original_len);
}

std::string desc_text(const weights::ModelDesc& d) {
  std::string text = fmt::format("{} {} {} {} {} {} {} {}", weights::architecture_name(d.architecture), d.n_layers,
                                 d.d_model, d.d_ff, d.n_heads, d.n_kv_heads, d.head_dim, d.n_vocab);
  text += fmt::format(" {} {} {} {} {} {} {}", d.rms_eps, d.norm_weight_offset, d.attention_scale, d.embedding_scale,
                      d.attention_softcap, static_cast<int>(d.activation), static_cast<int>(d.rope_style));
  text += fmt::format(" {} {} {} {} {}", d.rope_dims, d.rope_base, d.rope_base_window, scaling_text(d.rope_scaling),
                      scaling_text(d.rope_scaling_window));
  return text + fmt::format(" {}", fmt::join(d.layer_window, " "));
}

std::string geometry_text(const flow::KvGeometry& kv) {
  std::string text = fmt::format("{} {}", kv.block_tokens, kv.block_bytes);
  for (const flow::KvGroup& group : kv.groups) {
    text += fmt::format(" {} {} ({})", static_cast<int>(group.kind), group.window_tokens, fmt::join(group.layers, " "));
  }
  return text;
}

}  // namespace

flow::TierName kv_layout_name(const weights::ModelFile& file, const flow::KvGeometry& geometry,
                              std::string_view kv_dtype, std::string_view isa) {
  Sha256 digest;
  digest.update(
      fmt::format("millrace KV 2\n{}\n{}\n{} {}\n", desc_text(file.desc()), geometry_text(geometry), kv_dtype, isa));
  if (file.quantization()) digest.update(fmt::format("quantised {}\n", static_cast<int>(*file.quantization())));
  for (std::string_view name : file.source().names()) {
    Result<tensor::TensorView> view = file.source().tensor(name);
    if (!view.ok()) continue;
    uint64_t sum = checksum64({static_cast<const uint8_t*>(view->data), static_cast<size_t>(view->bytes)});
    digest.update(fmt::format("{} {} {:016x}\n", name, static_cast<int>(view->format), sum));
    file.source().release(name);
  }
  return digest.finish();
}

}  // namespace millrace::instance
