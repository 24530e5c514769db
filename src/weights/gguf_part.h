// One GGUF file as bytes: the parser behind GgufFile. Everything is checked here, in file order; a claim is compared
// with the bytes left before anything is allocated for it.
// Thread: any (pure function).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/gguf.h"

namespace millrace::weights {

struct GgufTensor {
  std::string_view name;
  tensor::TensorView view;
};

struct GgufPart {
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<GgufValue> values;    // in file order, keys unique
  std::vector<GgufTensor> tensors;  // in file order, names unique, bytes disjoint
};

// name is the file as the user gave it; it opens every message.
Result<GgufPart> parse_gguf_part(std::span<const uint8_t> bytes, const std::string& name);

std::string_view gguf_type_name(GgufType type);  // "UINT32"
size_t gguf_type_bytes(GgufType type);           // of a scalar; 0 for strings and arrays
const GgufValue* find_value(std::span<const GgufValue> values, std::string_view key);  // linear
// An integer of any width, when it fits int64.
std::optional<int64_t> gguf_integer(GgufType type, const uint8_t* bytes);

}  // namespace millrace::weights
