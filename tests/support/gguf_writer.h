// GgufWriter: builds a GGUF v3 file in memory from keys and tensors, for tests and fuzz seeds. Tensor values are given
// as f32 and encoded with the reference encoder of their format. Nothing is checked: it can write bad files too.
//   GgufWriter w; w.add("general.architecture", "llama"); w.add_u32("llama.block_count", 2);
//   w.add_tensor("output_norm.weight", Format::kF32, {64}, values); std::vector<uint8_t> bytes = w.build();
// Thread: one.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_reader.h"
#include "tensor/formats.h"
#include "tensor/shape.h"

namespace millrace::testing {

class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // written as general.alignment only when not 32

  void add(std::string_view key, std::string_view text) {
    key_head(key, 8);
    put_string(keys_, text);
  }
  void add_u32(std::string_view key, uint32_t value) { add_number(key, 4, value); }
  void add_i32(std::string_view key, int32_t value) { add_number(key, 5, value); }
  void add_f32(std::string_view key, float value) { add_number(key, 6, value); }
  void add_u64(std::string_view key, uint64_t value) { add_number(key, 10, value); }
  void add_bool(std::string_view key, bool value) { add_number(key, 7, static_cast<uint8_t>(value)); }
  void add_strings(std::string_view key, std::span<const std::string> texts) {
    array_head(key, 8, texts.size());
    for (const std::string& text : texts) put_string(keys_, text);
  }
  void add_floats(std::string_view key, std::span<const float> values) { add_array(key, 6, values); }
  void add_ints(std::string_view key, std::span<const int32_t> values) { add_array(key, 5, values); }
  // A value of any type id with any bytes.
  void add_raw(std::string_view key, uint32_t type, std::span<const uint8_t> bytes) {
    key_head(key, type);
    put_bytes(keys_, bytes);
  }

  // values: [shape.n_values()]; cols must be a multiple of the format's group.
  void add_tensor(std::string_view name, tensor::Format format, const tensor::Shape& shape,
                  std::span<const float> values) {
    const tensor::FormatInfo& info = tensor::format_info(format);
    int64_t n_groups = static_cast<int64_t>(values.size()) / info.group_values;
    std::vector<uint8_t> bytes(static_cast<size_t>(n_groups) * info.group_bytes);
    info.encode(bytes.data(), values.data(), n_groups);
    std::vector<uint64_t> extents;
    for (int i = shape.n_dims; i-- > 0;) extents.push_back(static_cast<uint64_t>(shape.dims[static_cast<size_t>(i)]));
    add_tensor_raw(name, info.gguf_type, extents, bytes);
  }
  // ne: extents in GGUF order (contiguous first); the offset is the next aligned one.
  void add_tensor_raw(std::string_view name, uint32_t type, std::span<const uint64_t> ne,
                      std::span<const uint8_t> bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    add_tensor_head(name, type, ne, data_.size());
    put_bytes(data_, bytes);
  }
  // Only the description, with any offset.
  void add_tensor_head(std::string_view name, uint32_t type, std::span<const uint64_t> ne, uint64_t offset) {
    put_string(heads_, name);
    put(heads_, static_cast<uint32_t>(ne.size()));
    for (uint64_t extent : ne) put(heads_, extent);
    put(heads_, type);
    put(heads_, offset);
    ++n_tensors_;
  }

  std::vector<uint8_t> build() {
    if (alignment != 32) add_u32("general.alignment", static_cast<uint32_t>(alignment));
    std::vector<uint8_t> out;
    put_bytes(out, as_bytes("GGUF"));
    put(out, version);
    put(out, n_tensors_);
    put(out, n_keys_);
    put_bytes(out, keys_);
    put_bytes(out, heads_);
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    put_bytes(out, data_);
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out;
  }

  template <class T>
  static void put(std::vector<uint8_t>& out, T value) {
    size_t at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &value, sizeof(T));
  }
  static void put_bytes(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  static void put_string(std::vector<uint8_t>& out, std::string_view text) {
    put(out, static_cast<uint64_t>(text.size()));
    put_bytes(out, as_bytes(text));
  }

 private:
  void key_head(std::string_view key, uint32_t type) {
    put_string(keys_, key);
    put(keys_, type);
    ++n_keys_;
  }
  void array_head(std::string_view key, uint32_t element, size_t n) {
    key_head(key, 9);
    put(keys_, element);
    put(keys_, static_cast<uint64_t>(n));
  }
  template <class T>
  void add_number(std::string_view key, uint32_t type, T value) {
    key_head(key, type);
    put(keys_, value);
  }
  template <class T>
  void add_array(std::string_view key, uint32_t element, std::span<const T> values) {
    array_head(key, element, values.size());
    for (T value : values) put(keys_, value);
  }

  std::vector<uint8_t> keys_;
  std::vector<uint8_t> heads_;
  std::vector<uint8_t> data_;
  uint64_t n_tensors_ = 0;
  uint64_t n_keys_ = 0;
};

}  // namespace millrace::testing
