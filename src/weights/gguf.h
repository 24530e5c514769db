// GgufFile: a GGUF v2 or v3 file, or the parts of a split one, mapped read-only, with its metadata and tensors
// checked once at open. Memory used follows the bytes present, never a count claimed by the file.
// Source of the layout: the public GGUF specification (ggml/docs/gguf.md).
// Invariants: 1. every key, tensor name and string lies inside the file; 2. tensors do not overlap, and lie behind
// the header; 3. metadata of a split file is that of its first part.
// Thread: any after open (const).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace millrace::weights {

// Persistent: value type ids of the format.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// One metadata value, still in the file's bytes.
struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::kUint8;
  GgufType element = GgufType::kUint8;  // of an array; equal to type otherwise
  uint64_t count = 1;                   // elements of an array; 1 otherwise
  std::span<const uint8_t> bytes;       // the elements (behind the array header); a string without its length
  uint64_t offset = 0;                  // of bytes, in the file
};

struct IntRange {
  int64_t min = 0;
  int64_t max = 0;
};
struct FloatRange {
  double min = 0.0;
  double max = 0.0;
};

class GgufFile final : public TensorSource {
 public:
  // path is the file, or the first part of a split one ("x-00001-of-00003.gguf"); the rest lie beside it.
  static Result<GgufFile> open(const std::string& path);
  // The bytes of one file that the caller keeps alive; name is used in messages.
  static Result<GgufFile> parse(std::span<const uint8_t> bytes, std::string name = "model.gguf");

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile() override;

  const std::string& name() const;  // path as given to open()
  uint32_t version() const;
  std::span<const GgufValue> values() const;  // in file order

  // Metadata. A missing key is an error unless a fallback is given; a wrong type or range always is
  // ("x.gguf: llama.attention.head_count = 0: must be 1..1024").
  const GgufValue* find(std::string_view key) const;
  bool has_key(std::string_view key) const { return find(key) != nullptr; }
  Result<int64_t> get_int(std::string_view key, IntRange range, std::optional<int64_t> fallback = {}) const;
  Result<double> get_float(std::string_view key, FloatRange range, std::optional<double> fallback = {}) const;
  Result<bool> get_bool(std::string_view key, std::optional<bool> fallback = {}) const;
  Result<std::string_view> get_string(std::string_view key, std::optional<std::string_view> fallback = {}) const;
  // Arrays: a missing key is an error. The strings are views of the mapping (256k strings take about a millisecond).
  Result<std::vector<std::string_view>> get_strings(std::string_view key) const;
  Result<std::vector<float>> get_floats(std::string_view key) const;  // of float32 or float64
  Result<std::vector<int64_t>> get_ints(std::string_view key) const;  // of any integer type, or bool

  // TensorSource
  bool has(std::string_view name) const override;
  Result<tensor::TensorView> tensor(std::string_view name) const override;
  std::vector<std::string_view> names() const override;
  uint64_t bytes() const override;
  void release(std::string_view name) const override;

 private:
  struct State;
  explicit GgufFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace millrace::weights
