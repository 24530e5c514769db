#include "weights/gguf_part.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/byte_reader.h"
#include "base/limits.h"
#include "base/macros.h"
#include "tensor/formats.h"
#include "weights/name_check.h"

namespace millrace::weights {
namespace {

constexpr uint64_t kHeaderBytes = 24;   // magic, version, tensor count, key count
constexpr uint64_t kMaxNameBytes = 63;  // GGML_MAX_NAME - 1
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMinAlignment = 8;
constexpr uint64_t kMaxAlignment = 65536;
constexpr uint32_t kMagic = 0x46554747;  // "GGUF"

constexpr std::string_view kTypeNames[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                           "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};

// Tensor types that exist but are not read, so that the message can name them (ggml.h enum ggml_type).
struct OtherType {
  uint32_t id;
  std::string_view name;
};
constexpr OtherType kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},
};

struct TensorHead {
  std::string_view name;
  const tensor::FormatInfo* info = nullptr;
  tensor::Shape shape;
  uint64_t offset = 0;  // in the data section
  uint64_t data_bytes = 0;
  uint64_t at = 0;  // of the head, in the file
};

class PartParser {
 public:
  PartParser(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), reader_(bytes), name_(name) {}

  Result<GgufPart> run() {
    TRY(read_counts());
    for (uint64_t i = 0; i < n_keys_; ++i) TRY(read_key());
    TRY(check_keys_unique());
    TRY(read_alignment());
    for (uint64_t i = 0; i < n_tensors_; ++i) TRY(read_tensor());
    TRY(place_tensors());
    return std::move(part_);
  }

 private:
  Error bad(uint64_t at, std::string what) const {
    return {ErrorCode::kBadFile, fmt::format("{}: {} (at byte {})", name_, what, at), name_};
  }
  Error truncated(std::string_view what) const {
    return bad(reader_.offset(), fmt::format("file ends inside {}: {} bytes left", what, reader_.left()));
  }

  Result<void> read_counts() {
    if (bytes_.size() < kHeaderBytes) {
      std::string what = fmt::format("not a model file: {} bytes, need at least {}", bytes_.size(), kHeaderBytes);
      return Error{ErrorCode::kBadFile, fmt::format("{}: {}", name_, what), name_};
    }
    if (*reader_.read<uint32_t>() != kMagic) {
      return bad(0, fmt::format("unknown magic {:02x} {:02x} {:02x} {:02x}; expected \"GGUF\" or safetensors",
                                bytes_[0], bytes_[1], bytes_[2], bytes_[3]));
    }
    part_.version = *reader_.read<uint32_t>();
    if (part_.version != 2 && part_.version != 3) {
      bool swapped = (part_.version & 0xFFFFu) == 0 && part_.version != 0;
      return bad(4, fmt::format("unsupported GGUF version {}{}; supported 2, 3", part_.version,
                                swapped ? " (big-endian file?)" : ""));
    }
    Limits limits;
    auto max_tensors = static_cast<uint64_t>(limits[LimitId::kGgufTensors]);
    auto max_keys = static_cast<uint64_t>(limits[LimitId::kGgufKeys]);
    max_string_ = static_cast<uint64_t>(limits[LimitId::kGgufStringBytes]);
    n_tensors_ = *reader_.read<uint64_t>();
    n_keys_ = *reader_.read<uint64_t>();
    if (n_tensors_ > max_tensors)
      return bad(8, fmt::format("tensor count {} exceeds limit {}", n_tensors_, max_tensors));
    if (n_keys_ > max_keys) return bad(16, fmt::format("key count {} exceeds limit {}", n_keys_, max_keys));
    return {};
  }

  Result<std::string_view> read_string() {
    uint64_t at = reader_.offset();
    std::optional<uint64_t> length = reader_.read<uint64_t>();
    if (!length) return truncated("a string length");
    if (*length > reader_.left()) {
      return bad(at, fmt::format("string length {} exceeds the {} bytes left", *length, reader_.left()));
    }
    if (*length > max_string_) return bad(at, fmt::format("string length {} exceeds limit {}", *length, max_string_));
    return as_text(*reader_.take(*length));
  }

  Result<void> read_key() {
    uint64_t at = reader_.offset();
    GgufValue value;
    value.key = TRY(read_string());
    if (value.key.empty() || value.key.size() > kMaxKeyBytes || !is_clean_name(value.key)) {
      return bad(at, fmt::format("bad key \"{}\": 1..{} bytes of UTF-8 without control characters required",
                                 show_name(value.key), kMaxKeyBytes));
    }
    at = reader_.offset();
    std::optional<uint32_t> type = reader_.read<uint32_t>();
    if (!type) return truncated("a value type");
    value.type = TRY(checked_type(*type, at, value.key));
    value.element = value.type;
    if (value.type == GgufType::kArray) {
      TRY(read_array(value));
    } else if (value.type == GgufType::kString) {
      value.bytes = as_bytes(TRY(read_string()));
      value.offset = reader_.offset() - value.bytes.size();
    } else {
      value.offset = reader_.offset();
      auto bytes = reader_.take(gguf_type_bytes(value.type));
      if (!bytes) return truncated(fmt::format("the value of {}", show_name(value.key)));
      value.bytes = *bytes;
    }
    part_.values.push_back(value);
    return {};
  }

  Result<GgufType> checked_type(uint32_t type, uint64_t at, std::string_view key) const {
    if (type >= std::size(kTypeNames)) return bad(at, fmt::format("{}: unknown value type {}", show_name(key), type));
    return static_cast<GgufType>(type);
  }

  Result<void> read_array(GgufValue& value) {
    uint64_t at = reader_.offset();
    std::optional<uint32_t> element = reader_.read<uint32_t>();
    std::optional<uint64_t> count = reader_.read<uint64_t>();
    if (!element || !count) return truncated("an array header");
    value.element = TRY(checked_type(*element, at, value.key));
    value.count = *count;
    value.offset = reader_.offset();
    if (value.element == GgufType::kArray) {
      return bad(at, fmt::format("{}: nested array not allowed", show_name(value.key)));
    }
    bool strings = value.element == GgufType::kString;
    uint64_t element_bytes = strings ? 8 : gguf_type_bytes(value.element);  // a string takes 8 bytes at least
    std::optional<uint64_t> needed = checked_mul(value.count, element_bytes);
    if (!needed || *needed > reader_.left()) {
      uint64_t shown = needed.value_or(std::numeric_limits<uint64_t>::max());
      return bad(at, fmt::format("{}: array needs >= {} bytes, {} left", show_name(value.key), shown, reader_.left()));
    }
    if (!strings) {
      value.bytes = *reader_.take(*needed);
      return {};
    }
    for (uint64_t i = 0; i < value.count; ++i) TRY(read_string());
    value.bytes = bytes_.subspan(value.offset, reader_.offset() - value.offset);
    return {};
  }

  Result<void> check_keys_unique() const {
    std::vector<std::string_view> keys;
    keys.reserve(part_.values.size());
    for (const GgufValue& value : part_.values) keys.push_back(value.key);
    std::sort(keys.begin(), keys.end());
    auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) return bad(kHeaderBytes, fmt::format("duplicate key \"{}\"", show_name(*twice)));
    return {};
  }

  Result<void> read_alignment() {
    const GgufValue* value = find_value(part_.values, "general.alignment");
    if (value == nullptr) return {};
    std::optional<int64_t> number;
    if (value->type == GgufType::kUint32) number = gguf_integer(value->type, value->bytes.data());
    if (!number) {
      return bad(value->offset, fmt::format("general.alignment = {} value: UINT32 power of two in {}..{} required",
                                            gguf_type_name(value->type), kMinAlignment, kMaxAlignment));
    }
    auto alignment = static_cast<uint64_t>(*number);
    if (alignment < kMinAlignment || alignment > kMaxAlignment || !std::has_single_bit(alignment)) {
      return bad(value->offset, fmt::format("general.alignment = {}: power of two in {}..{} required", alignment,
                                            kMinAlignment, kMaxAlignment));
    }
    part_.alignment = alignment;
    return {};
  }

  Result<void> read_tensor() {
    TensorHead head;
    head.at = reader_.offset();
    head.name = TRY(read_string());
    if (head.name.empty() || head.name.size() > kMaxNameBytes || !is_clean_name(head.name)) {
      return bad(head.at,
                 fmt::format("bad tensor name \"{}\": 1..{} bytes of UTF-8 without control characters required",
                             show_name(head.name), kMaxNameBytes));
    }
    TRY(read_shape(head));
    std::optional<uint32_t> type = reader_.read<uint32_t>();
    std::optional<uint64_t> offset = reader_.read<uint64_t>();
    if (!type || !offset) return truncated(fmt::format("the description of tensor \"{}\"", show_name(head.name)));
    head.offset = *offset;
    TRY(measure(head, *type));
    heads_.push_back(head);
    return {};
  }

  Result<void> read_shape(TensorHead& head) {
    std::string who = fmt::format("tensor \"{}\"", show_name(head.name));
    uint64_t at = reader_.offset();
    std::optional<uint32_t> n_dims = reader_.read<uint32_t>();
    if (!n_dims) return truncated("the description of " + who);
    if (*n_dims < 1 || *n_dims > tensor::kMaxDims) {
      return bad(at, fmt::format("{}: n_dims = {}: must be 1..{}", who, *n_dims, tensor::kMaxDims));
    }
    head.shape.n_dims = static_cast<int>(*n_dims);
    uint64_t n_values = 1;
    for (uint32_t i = 0; i < *n_dims; ++i) {
      at = reader_.offset();
      std::optional<uint64_t> extent = reader_.read<uint64_t>();
      if (!extent) return truncated("the description of " + who);
      if (*extent == 0) return bad(at, fmt::format("{}: dimension {} is 0", who, i));
      std::optional<uint64_t> product = checked_mul(n_values, *extent);
      if (!product || *product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return bad(at, fmt::format("{}: element count overflows", who));
      }
      n_values = *product;
      head.shape.dims[*n_dims - 1 - i] = static_cast<int64_t>(*extent);  // ne order reversed
    }
    return {};
  }

  Result<void> measure(TensorHead& head, uint32_t type) {
    std::string who = fmt::format("tensor \"{}\"", show_name(head.name));
    head.info = tensor::format_of_gguf_type(type);
    if (head.info == nullptr) {
      for (const OtherType& other : kOtherTypes) {
        if (other.id == type) return bad(head.at, fmt::format("{}: tensor type {} is not supported", who, other.name));
      }
      return bad(head.at, fmt::format("{}: unknown tensor type {}", who, type));
    }
    if (head.shape.cols() % head.info->group_values != 0) {
      return bad(head.at, fmt::format("{}: {} needs a multiple of {}, got {}", who, head.info->name,
                                      head.info->group_values, head.shape.cols()));
    }
    uint64_t n_groups = static_cast<uint64_t>(head.shape.n_values()) / head.info->group_values;
    std::optional<uint64_t> data_bytes = checked_mul(n_groups, head.info->group_bytes);
    std::optional<uint64_t> padded = data_bytes ? checked_add(*data_bytes, part_.alignment - 1) : std::nullopt;
    std::optional<uint64_t> end = padded ? checked_add(*padded, head.offset) : std::nullopt;
    if (!end) return bad(head.at, fmt::format("{}: padded size overflows", who));
    if (head.offset % part_.alignment != 0) {
      return bad(head.at,
                 fmt::format("{}: offset {} not a multiple of alignment {}", who, head.offset, part_.alignment));
    }
    head.data_bytes = *data_bytes;
    return {};
  }

  Result<void> place_tensors() {
    uint64_t mask = part_.alignment - 1;
    uint64_t data_start = (uint64_t{reader_.offset()} + mask) & ~mask;
    for (const TensorHead& head : heads_) {
      std::optional<uint64_t> begin = checked_add(data_start, head.offset);
      std::optional<uint64_t> end = begin ? checked_add(*begin, head.data_bytes) : std::nullopt;
      if (!end) return bad(head.at, fmt::format("tensor \"{}\": padded size overflows", show_name(head.name)));
      if (*end > bytes_.size()) {
        return bad(head.at, fmt::format("tensor \"{}\" ends at {} but file has {} bytes", show_name(head.name), *end,
                                        bytes_.size()));
      }
      tensor::TensorView view{head.info->format, head.shape, bytes_.data() + *begin, head.data_bytes};
      part_.tensors.push_back({head.name, view});
    }
    TRY(check_names_unique());
    return check_disjoint();
  }

  Result<void> check_names_unique() const {
    std::vector<std::string_view> names;
    names.reserve(heads_.size());
    for (const TensorHead& head : heads_) names.push_back(head.name);
    std::sort(names.begin(), names.end());
    auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return {};
    auto first =
        std::find_if(heads_.rbegin(), heads_.rend(), [&](const TensorHead& head) { return head.name == *twice; });
    return bad(first->at, fmt::format("duplicate tensor name \"{}\"", show_name(*twice)));
  }

  Result<void> check_disjoint() const {
    std::vector<const TensorHead*> order;
    order.reserve(heads_.size());
    for (const TensorHead& head : heads_) order.push_back(&head);
    std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const TensorHead& before = *order[i - 1];
      if (before.offset + before.data_bytes <= order[i]->offset) continue;
      return bad(order[i]->at,
                 fmt::format("tensor \"{}\" overlaps \"{}\"", show_name(order[i]->name), show_name(before.name)));
    }
    return {};
  }

  std::span<const uint8_t> bytes_;
  ByteReader reader_;
  const std::string& name_;
  uint64_t n_tensors_ = 0;
  uint64_t n_keys_ = 0;
  uint64_t max_string_ = 0;
  std::vector<TensorHead> heads_;
  GgufPart part_;
};

template <class T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace

Result<GgufPart> parse_gguf_part(std::span<const uint8_t> bytes, const std::string& name) {
  return PartParser(bytes, name).run();
}

std::string_view gguf_type_name(GgufType type) { return kTypeNames[static_cast<size_t>(type)]; }

size_t gguf_type_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

const GgufValue* find_value(std::span<const GgufValue> values, std::string_view key) {
  for (const GgufValue& value : values) {
    if (value.key == key) return &value;
  }
  return nullptr;
}

std::optional<int64_t> gguf_integer(GgufType type, const uint8_t* bytes) {
  switch (type) {
    case GgufType::kUint8:
      return load<uint8_t>(bytes);
    case GgufType::kInt8:
      return load<int8_t>(bytes);
    case GgufType::kUint16:
      return load<uint16_t>(bytes);
    case GgufType::kInt16:
      return load<int16_t>(bytes);
    case GgufType::kUint32:
      return load<uint32_t>(bytes);
    case GgufType::kInt32:
      return load<int32_t>(bytes);
    case GgufType::kInt64:
      return load<int64_t>(bytes);
    case GgufType::kUint64: {
      auto value = load<uint64_t>(bytes);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    case GgufType::kFloat32:
    case GgufType::kFloat64:
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace millrace::weights
