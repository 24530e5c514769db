// parse_safetensors: the header of one safetensors file and the placement of its tensors.
#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/byte_reader.h"
#include "base/limits.h"
#include "base/macros.h"
#include "tensor/formats.h"
#include "weights/name_check.h"
#include "weights/safetensors.h"

namespace millrace::weights {
namespace {

constexpr size_t kMaxNameBytes = 1024;
constexpr uint32_t kMaxHeaderValues = 1'500'000;  // about 65,536 tensors of 4 dimensions, and metadata

struct Dtype {
  std::string_view name;
  bool readable;
  tensor::Format format;
};
// The dtypes of the format; those that are not readable are named in messages.
constexpr Dtype kDtypes[] = {
    {"F32", true, tensor::Format::kF32},      {"F16", true, tensor::Format::kF16},
    {"BF16", true, tensor::Format::kBF16},    {"F64", false, tensor::Format::kF32},
    {"I64", false, tensor::Format::kF32},     {"I32", false, tensor::Format::kF32},
    {"I16", false, tensor::Format::kF32},     {"I8", false, tensor::Format::kF32},
    {"U64", false, tensor::Format::kF32},     {"U32", false, tensor::Format::kF32},
    {"U16", false, tensor::Format::kF32},     {"U8", false, tensor::Format::kF32},
    {"BOOL", false, tensor::Format::kF32},    {"C64", false, tensor::Format::kF32},
    {"F8_E4M3", false, tensor::Format::kF32}, {"F8_E5M2", false, tensor::Format::kF32},
    {"F8_E8M0", false, tensor::Format::kF32}, {"F6_E2M3", false, tensor::Format::kF32},
    {"F6_E3M2", false, tensor::Format::kF32}, {"F4", false, tensor::Format::kF32},
};

struct Placed {
  SafetensorsEntry entry;
  uint64_t begin = 0;  // in the data buffer
  uint64_t end = 0;
  bool left_out = false;
};

// Numbered positions beside the weights of encoders: nothing reads them.
bool is_position_ids(std::string_view tensor, const Json& json) {
  constexpr std::string_view kName = "position_ids";
  const Json* dtype = json.find("dtype");
  bool named = tensor == kName || tensor.ends_with(".position_ids");
  return named && dtype != nullptr && *dtype == Json("I64");
}

class HeaderParser {
 public:
  HeaderParser(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Result<std::vector<SafetensorsEntry>> run() {
    Json header = TRY(read_header());
    auto max_tensors = static_cast<size_t>(Limits()[LimitId::kGgufTensors]);
    size_t n_tensors = header.size() - (header.find("__metadata__") != nullptr ? 1 : 0);
    if (n_tensors > max_tensors) return bad(fmt::format("tensor count {} exceeds limit {}", n_tensors, max_tensors));
    for (const auto& member : header.as_object().members) {
      if (member.first == "__metadata__") {
        TRY(check_metadata(member.second));
      } else {
        TRY(read_tensor(member.first, member.second));
      }
    }
    TRY(check_coverage());
    std::vector<SafetensorsEntry> out;
    out.reserve(placed_.size());
    for (Placed& placed : placed_) {
      if (placed.left_out) continue;
      placed.entry.view.data = data_.data() + placed.begin;
      out.push_back(std::move(placed.entry));
    }
    return out;
  }

 private:
  Error bad(std::string_view what) const { return {ErrorCode::kBadFile, fmt::format("{}: {}", name_, what), name_}; }
  Error bad_tensor(std::string_view tensor, std::string_view what) const {
    return {ErrorCode::kBadFile, fmt::format("{}: tensor \"{}\": {}", name_, show_name(tensor), what),
            std::string(tensor)};
  }

  Result<Json> read_header() {
    ByteReader reader(bytes_);
    std::optional<uint64_t> length = reader.read<uint64_t>();
    if (!length) return bad(fmt::format("not a model file: {} bytes, need at least 8", bytes_.size()));
    auto max_bytes = static_cast<uint64_t>(Limits()[LimitId::kSafetensorsHeaderBytes]);
    if (*length > max_bytes) return bad(fmt::format("header length {} exceeds limit {}", *length, max_bytes));
    if (*length < 2) return bad(fmt::format("header length {}: must be 2..{}", *length, max_bytes));
    if (*length > reader.left()) {
      return bad(fmt::format("header length {} exceeds the {} bytes left", *length, reader.left()));
    }
    std::string_view text = as_text(*reader.take(*length));
    data_ = *reader.take(reader.left());
    if (text[0] != '{') return bad("header is not valid JSON at byte 0: must start with \"{\"");
    JsonLimits limits;
    limits.nodes = kMaxHeaderValues;
    Result<Json> header = parse_json(text, limits);
    if (!header.ok()) return bad("header is " + header.error().message);
    return header;
  }

  Result<void> check_metadata(const Json& metadata) const {
    if (!metadata.is_object()) return bad("header is not valid: __metadata__ must be an object");
    for (const auto& member : metadata.as_object().members) {
      if (member.second.is_string()) continue;
      return bad(fmt::format("header is not valid: __metadata__ \"{}\" must be a string", show_name(member.first)));
    }
    return {};
  }

  Result<void> read_tensor(const std::string& tensor, const Json& json) {
    if (tensor.empty() || tensor.size() > kMaxNameBytes || !is_clean_name(tensor)) {
      return bad(fmt::format("bad tensor name \"{}\" of {} bytes: 1..{} bytes without control characters required",
                             show_name(tensor), tensor.size(), kMaxNameBytes));
    }
    Placed placed;
    placed.entry.name = tensor;
    placed.left_out = is_position_ids(tensor, json);
    if (!placed.left_out) TRY(read_dtype(tensor, json, placed.entry.view));
    TRY(read_shape(tensor, json, placed.entry.view));
    if (placed.left_out) placed.entry.view.bytes *= 2;  // of I64, as the shape was counted in F32
    TRY(read_offsets(tensor, json, placed));
    uint64_t given = placed.end - placed.begin;
    if (given != placed.entry.view.bytes) {
      return bad_tensor(tensor, fmt::format("{} bytes given, {} needed", given, placed.entry.view.bytes));
    }
    if (placed.end > data_.size()) {
      return bad_tensor(tensor, fmt::format("ends at {} but the buffer has {} bytes", placed.end, data_.size()));
    }
    placed_.push_back(std::move(placed));
    return {};
  }

  Result<void> read_dtype(const std::string& tensor, const Json& json, tensor::TensorView& view) const {
    const Json* dtype = json.find("dtype");
    if (dtype == nullptr || !dtype->is_string()) return bad_tensor(tensor, "bad dtype");
    for (const Dtype& row : kDtypes) {
      if (row.name != dtype->as_string()) continue;
      if (!row.readable)
        return bad_tensor(tensor, fmt::format("dtype {} is not supported; F32, F16, BF16 are", row.name));
      view.format = row.format;
      return {};
    }
    return bad_tensor(tensor, fmt::format("unknown dtype \"{}\"", show_name(dtype->as_string())));
  }

  Result<void> read_shape(const std::string& tensor, const Json& json, tensor::TensorView& view) const {
    const Json* shape = json.find("shape");
    if (shape == nullptr || !shape->is_array()) return bad_tensor(tensor, "bad shape");
    if (shape->size() > tensor::kMaxDims) {
      return bad_tensor(tensor, fmt::format("n_dims = {}: must be 0..{}", shape->size(), tensor::kMaxDims));
    }
    uint64_t n_values = 1;
    bool empty = false;
    for (const Json& extent : shape->as_array()) {
      if (!extent.is_int() || extent.as_int() < 0) return bad_tensor(tensor, "bad shape");
      view.shape.dims[static_cast<size_t>(view.shape.n_dims++)] = extent.as_int();
      empty = empty || extent.as_int() == 0;
      std::optional<uint64_t> product =
          checked_mul(n_values, static_cast<uint64_t>(std::max<int64_t>(extent.as_int(), 1)));
      if (!product || *product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return bad_tensor(tensor, "element count overflows");
      }
      n_values = *product;
    }
    if (view.shape.n_dims == 0) view.shape = {1};
    std::optional<uint64_t> needed = checked_mul(empty ? 0 : n_values, tensor::format_info(view.format).group_bytes);
    if (!needed) return bad_tensor(tensor, "element count overflows");
    view.bytes = *needed;
    return {};
  }

  Result<void> read_offsets(const std::string& tensor, const Json& json, Placed& placed) const {
    const Json* offsets = json.find("data_offsets");
    if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2)
      return bad_tensor(tensor, "bad data_offsets");
    const Json& begin = offsets->as_array()[0];
    const Json& end = offsets->as_array()[1];
    if (!begin.is_int() || !end.is_int() || begin.as_int() < 0 || begin.as_int() > end.as_int()) {
      return bad_tensor(tensor, "bad data_offsets");
    }
    placed.begin = static_cast<uint64_t>(begin.as_int());
    placed.end = static_cast<uint64_t>(end.as_int());
    return {};
  }

  // Sorts the tensors by their bytes; they must tile the buffer.
  Result<void> check_coverage() {
    std::stable_sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t covered = 0;
    for (size_t i = 0; i < placed_.size(); ++i) {
      const Placed& placed = placed_[i];
      if (placed.begin == placed.end) return refuse_empty(i);
      if (placed.begin > covered) {
        return bad(fmt::format("bytes {}..{} not covered by any tensor", covered, placed.begin - 1));
      }
      if (placed.begin < covered) return overlap(placed, placed_[i - 1]);
      covered = placed.end;
    }
    if (covered == data_.size()) return {};
    return bad(fmt::format("bytes {}..{} not covered by any tensor", covered, data_.size() - 1));
  }

  Error overlap(const Placed& a, const Placed& b) const {
    return bad(
        fmt::format("\"{}\" overlaps \"{}\" at offset {}", show_name(a.entry.name), show_name(b.entry.name), a.begin));
  }

  Error refuse_empty(size_t i) const {
    const Placed& empty = placed_[i];
    for (const Placed& other : placed_) {
      if (other.begin <= empty.begin && empty.begin < other.end) return overlap(empty, other);
    }
    return bad_tensor(empty.entry.name, "a dimension is 0");
  }

  std::span<const uint8_t> bytes_;
  const std::string& name_;
  std::span<const uint8_t> data_;
  std::vector<Placed> placed_;
};

}  // namespace

Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const uint8_t> bytes, const std::string& name) {
  return HeaderParser(bytes, name).run();
}

}  // namespace millrace::weights
