// ModelFile: a checkpoint of either kind, opened, described and checked: every weight the architecture needs is there
// and has the shape its hyperparameters say. This is what layers and models load from.
// Thread: any after open (const).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "weights/gguf.h"
#include "weights/model_desc.h"
#include "weights/name_map.h"
#include "weights/safetensors.h"
#include "weights/tensor_source.h"

namespace millrace::weights {

class ModelFile {
 public:
  // path: a .gguf file (first part of a split one) or a folder in Hugging Face layout.
  static Result<ModelFile> open(const std::string& path);
  // From a parsed GGUF (tests, fuzzing): the bytes behind it must outlive the result.
  static Result<ModelFile> from_gguf(GgufFile file);

  const ModelDesc& desc() const { return desc_; }
  const TensorSource& source() const;
  const GgufFile* gguf() const { return gguf_.get(); }                      // or nullptr
  const SafetensorsDir* safetensors() const { return safetensors_.get(); }  // or nullptr

  bool has(WeightRole role, uint32_t layer = 0) const;
  // The weight; kOutput of a tied model is the token embedding. An absent optional weight is an error: ask has().
  Result<tensor::TensorView> weight(WeightRole role, uint32_t layer = 0) const;
  // Consumed: its pages may leave memory. Not for a tied embedding that is still needed.
  void release(WeightRole role, uint32_t layer = 0) const;

  // Float matrices are to be kept in this format (--quantization): see format_in_memory(). kUsage, naming the flag,
  // when no matrix of the file is F32, F16 or BF16.
  Result<void> quantize(tensor::Format format);
  std::optional<tensor::Format> quantization() const { return quantization_; }
  // The format a weight is packed in: its own, or, for a float matrix after quantize(), that format; Q8_0 for the
  // output matrix and for rows that are not a multiple of the format's group; its own where 32 does not divide them.
  tensor::Format format_in_memory(WeightRole role, const tensor::TensorView& view) const;

  // Tensors of the file that no row names; reported once as a warning by open().
  const std::vector<std::string>& unused_tensors() const { return unused_; }

 private:
  ModelFile() = default;
  Result<void> bind();
  std::string name_of(WeightRole role, uint32_t layer) const;

  std::unique_ptr<GgufFile> gguf_;
  std::unique_ptr<SafetensorsDir> safetensors_;
  ModelDesc desc_;
  std::string hf_prefix_;
  std::vector<std::string> unused_;
  std::optional<tensor::Format> quantization_;
};

}  // namespace millrace::weights
