// SafetensorsWriter: builds one safetensors file in memory, for tests and fuzz seeds. Values are given as f32 and
// rounded to the dtype of the tensor.
//   SafetensorsWriter w; w.add("model.norm.weight", "BF16", {64}, values); std::string bytes = w.build();
// Thread: one.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/float16.h"
#include "tensor/shape.h"

namespace millrace::testing {

class SafetensorsWriter {
 public:
  // dtype: F32, F16 or BF16
  void add(std::string_view name, std::string_view dtype, const tensor::Shape& shape, std::span<const float> values) {
    size_t begin = data_.size();
    for (float value : values) {
      if (dtype == "F32") {
        append(&value, sizeof(value));
      } else {
        uint16_t bits = dtype == "F16" ? tensor::f32_to_f16(value) : tensor::f32_to_bf16(value);
        append(&bits, sizeof(bits));
      }
    }
    JsonArray extents;
    for (int i = 0; i < shape.n_dims; ++i) extents.emplace_back(shape.dims[static_cast<size_t>(i)]);
    Json entry = Json::object();
    entry.set("dtype", std::string(dtype));
    entry.set("shape", std::move(extents));
    JsonArray offsets;
    offsets.emplace_back(static_cast<int64_t>(begin));
    offsets.emplace_back(static_cast<int64_t>(data_.size()));
    entry.set("data_offsets", std::move(offsets));
    header_.set(name, std::move(entry));
  }

  std::string build() const { return frame(header_.dump(), data_); }

  // Any header text before any data, with the right length in front.
  static std::string frame(std::string_view header, std::string_view data) {
    std::string out(8, '\0');
    uint64_t n = header.size();
    std::memcpy(out.data(), &n, sizeof(n));
    out += header;
    out += data;
    return out;
  }

 private:
  void append(const void* bytes, size_t n) { data_.append(static_cast<const char*>(bytes), n); }
  Json header_ = Json::object();
  std::string data_;
};

}  // namespace millrace::testing
