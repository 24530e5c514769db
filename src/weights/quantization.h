// What --quantization accepts: the formats that float weights may be kept in, chosen at load.
// Thread: any (constants).
#pragma once

#include <array>
#include <string_view>

#include "tensor/format_id.h"

namespace millrace::weights {

struct QuantizationRow {
  std::string_view name;
  tensor::Format format;
};

constexpr std::array<QuantizationRow, 3> kQuantizations = {{
    {"q8_0", tensor::Format::kQ8_0},
    {"q4_0", tensor::Format::kQ4_0},
    {"q4_k", tensor::Format::kQ4_K},
}};

}  // namespace millrace::weights
