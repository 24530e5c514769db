// Fuzz target: any bytes as a safetensors file and, when they start like JSON, as a config.json.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/json.h"
#include "tensor/tensor_view.h"
#include "weights/model_desc.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> bytes(data, size);
  if (size > 0 && data[0] == '{') {
    auto config = millrace::parse_json(millrace::as_text(bytes));
    if (!config.ok() || !config->is_object()) return 0;
    static_cast<void>(millrace::weights::model_desc_from_hf_config({.config = &*config,
                                                                    .generation_config = &*config,
                                                                    .tokenizer_config = &*config,
                                                                    .sentence_config = &*config,
                                                                    .pooling_config = &*config,
                                                                    .name = "fuzz.json"})
                          .ok());
    return 0;
  }
  auto entries = millrace::weights::parse_safetensors(bytes, "fuzz.safetensors");
  if (!entries.ok()) return 0;
  for (const auto& entry : *entries) {
    std::vector<float> row(static_cast<size_t>(entry.view.cols()));
    millrace::tensor::decode_row(row.data(), entry.view, entry.view.rows() - 1);
  }
  return 0;
}
