#include "api/kserve_infer.h"

#include <fmt/core.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/json_text.h"
#include "api/native_format.h"
#include "base/json.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

static_assert(std::endian::native == std::endian::little, "binary tensors are little-endian");

constexpr std::string_view kPrompts = "text_input";
constexpr std::string_view kAnswers = "text_output";
constexpr double kMicrosPerSecond = 1e6;  // Triton's `timeout` is in microseconds, the field table's in seconds

Error too_many(const std::string& path, int64_t most) {
  return Error{ErrorCode::kTooManyPrompts, fmt::format("{}: more than {} elements", path, most), path};
}

std::string text_of(const Json* value) { return value != nullptr && value->is_string() ? value->as_string() : ""; }

template <class T>
T take(std::string_view& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

template <class T>
Json take_real(std::string_view& bytes) {
  return Json(static_cast<double>(take<T>(bytes)));
}

// A number beyond int64 becomes a double, which every field of integers refuses.
template <class T>
Json take_integer(std::string_view& bytes) {
  T value = take<T>(bytes);
  if (std::in_range<int64_t>(value)) return Json(static_cast<int64_t>(value));
  return Json(static_cast<double>(value));
}

struct ElementType {
  std::string_view name;
  size_t n_bytes;
  Json (*take)(std::string_view& bytes);
};

// The element types of the protocol that a field can have, beside BYTES.
constexpr ElementType kElementTypes[] = {
    {"BOOL", 1, [](std::string_view& bytes) { return Json(take<uint8_t>(bytes) != 0); }},
    {"INT8", 1, take_integer<int8_t>},
    {"INT16", 2, take_integer<int16_t>},
    {"INT32", 4, take_integer<int32_t>},
    {"INT64", 8, take_integer<int64_t>},
    {"UINT8", 1, take_integer<uint8_t>},
    {"UINT16", 2, take_integer<uint16_t>},
    {"UINT32", 4, take_integer<uint32_t>},
    {"UINT64", 8, take_integer<uint64_t>},
    {"FP32", 4, take_real<float>},
    {"FP64", 8, take_real<double>},
};

// Texts, each behind its length as a uint32.
Result<Json> read_texts(std::string_view bytes, const std::string& path, int64_t most) {
  Json out = Json::array();
  while (!bytes.empty()) {
    if (static_cast<int64_t>(out.size()) >= most) {
      return too_many(path, most);
    }
    if (bytes.size() < sizeof(uint32_t)) return bad(path, "ends inside the length of an element");
    uint32_t length = take<uint32_t>(bytes);
    if (length > bytes.size()) {
      return bad(path, fmt::format("has an element of {} bytes and {} are left", length, bytes.size()));
    }
    std::string_view text = bytes.substr(0, length);
    if (!is_utf8(text)) return bad(path, "has an element that is not UTF-8");
    out.push_back(Json(text));
    bytes.remove_prefix(length);
  }
  return out;
}

Result<Json> read_elements(std::string_view datatype, std::string_view bytes, const std::string& path, int64_t most) {
  if (datatype == "BYTES") return read_texts(bytes, path, most);
  for (const ElementType& type : kElementTypes) {
    if (type.name != datatype) continue;
    if (bytes.size() % type.n_bytes != 0) return bad(path, fmt::format("is not a whole number of {}", datatype));
    if (static_cast<int64_t>(bytes.size() / type.n_bytes) > most) {
      return too_many(path, most);
    }
    Json out = Json::array();
    while (!bytes.empty()) out.push_back(type.take(bytes));
    return out;
  }
  return bad(path, "has a datatype that is not supported: " + quote_for_message(datatype));
}

// The elements of a tensor in order; nested arrays are its rows.
Result<void> flatten(const Json& data, const std::string& path, int64_t most, Json& out) {
  if (!data.is_array()) {
    if (static_cast<int64_t>(out.size()) >= most) {
      return too_many(path, most);
    }
    out.push_back(data);
    return {};
  }
  for (const Json& item : data.as_array()) TRY(flatten(item, path, most, out));
  return {};
}

Result<void> check_shape(const Json* shape, size_t n_elements, const std::string& path) {
  if (shape == nullptr || !shape->is_array()) return bad(path + ".shape", "must be an array of integers");
  uint64_t product = 1;
  for (const Json& dim : shape->as_array()) {
    bool fits = dim.is_int() && dim.as_int() >= 0 && dim.as_int() <= INT32_MAX && product <= INT32_MAX;
    if (!fits) return bad(path + ".shape", "must be an array of small non-negative integers");
    product *= static_cast<uint64_t>(dim.as_int());
  }
  if (product == n_elements) return {};
  return bad(path + ".shape", fmt::format("has {} elements, data has {}", product, n_elements));
}

struct Tensor {
  std::string name;
  Json data;  // flat
};

Result<Tensor> read_tensor(const Json& input, const std::string& path, int64_t most) {
  if (!input.is_object()) return bad(path, "must be an object");
  Tensor out{.name = text_of(input.get("name")), .data = Json::array()};
  if (out.name.empty()) return bad(path + ".name", "must be the name of an input");
  if (!input.get("datatype") || !input.get("datatype")->is_string()) return bad(path + ".datatype", "must be a string");
  const Json* data = input.get("data");
  if (data == nullptr || !data->is_array()) return bad(path + ".data", "must be an array");
  TRY(flatten(*data, path + ".data", most, out.data));
  TRY(check_shape(input.get("shape"), out.data.size(), path));
  return out;
}

Result<void> read_prompts(const Tensor& tensor, CompletionRequest& request) {
  for (const Json& text : tensor.data.as_array()) {
    if (!text.is_string()) return bad(std::string(kPrompts), "must hold strings");
    if (text.as_string().empty()) {
      return Error{ErrorCode::kEmptyPrompt, "text_input: must not be empty", std::string(kPrompts)};
    }
    request.prompts.emplace_back(text.as_string());
  }
  if (request.prompts.empty()) return Error{ErrorCode::kEmptyPrompt, "text_input has no element", "text_input"};
  return {};
}

// {"max_tokens": 8} in a text.
Result<void> add_sampling_parameters(const Tensor& tensor, const ParseContext& context, Json& fields) {
  std::string name = "sampling_parameters";
  if (tensor.data.size() != 1 || !tensor.data.as_array()[0].is_string()) return bad(name, "must be one text");
  JsonLimits limits{.depth = static_cast<uint32_t>(context.limits[LimitId::kJsonDepth])};
  Result<Json> parsed = parse_json(tensor.data.as_array()[0].as_string(), limits);
  if (!parsed.ok() || !parsed->is_object()) return bad(name, "must be a JSON object");
  TRY(check_members(parsed->size(), name));
  for (const auto& member : parsed->as_object().members) fields.set(member.first, member.second);
  return {};
}

Result<void> add_input(const Tensor& tensor, const ParseContext& context, Json& fields, CompletionRequest& request) {
  if (tensor.name == kPrompts) return read_prompts(tensor, request);
  if (tensor.name == "sampling_parameters") return add_sampling_parameters(tensor, context, fields);
  if (tensor.data.size() != 1) return bad(tensor.name, "must have one element");
  const Json& value = tensor.data.as_array()[0];
  if (tensor.name == "stream") {
    if (value.is_bool() && !value.as_bool()) return {};
    return bad("stream", "must be false: infer answers once, generate_stream streams");
  }
  if (tensor.name == "exclude_input_in_output") {
    if (value.is_bool() && value.as_bool()) return {};
    return bad(tensor.name, "must be true: text_output holds the answer alone");
  }
  if (value.kind() == Json::Kind::kDouble && !std::isfinite(value.as_double()))
    return bad(tensor.name, "must be finite");
  fields.set(tensor.name, value);
  return {};
}

// The parameters of the request, as fields.
Result<Json> read_parameters(const Json& body, bool& binary) {
  Json out = Json::object();
  const Json* parameters = body.get("parameters");
  if (parameters == nullptr) return out;
  if (!parameters->is_object()) return bad("parameters", "must be an object");
  TRY(check_members(parameters->size(), "parameters"));
  for (const auto& [name, value] : parameters->as_object().members) {
    if (name.starts_with("sequence_")) continue;  // every request stands alone
    if (name == "binary_data_output") {
      if (!value.is_bool()) return bad("parameters.binary_data_output", "must be a boolean");
      binary = value.as_bool();
    } else if (name == "timeout" && value.is_number()) {
      out.set(name, value.as_double() / kMicrosPerSecond);
    } else {
      out.set(name, value);
    }
  }
  return out;
}

Result<void> read_outputs(const Json& body, bool& binary) {
  const Json* outputs = body.get("outputs");
  if (outputs == nullptr) return {};
  if (!outputs->is_array()) return bad("outputs", "must be an array");
  for (const Json& output : outputs->as_array()) {
    if (text_of(output.get("name")) != kAnswers) return bad("outputs", "must name text_output, the only one");
    const Json* parameters = output.get("parameters");
    const Json* wanted = parameters == nullptr ? nullptr : parameters->get("binary_data");
    if (wanted != nullptr && wanted->is_bool()) binary = wanted->as_bool();
  }
  return {};
}

}  // namespace

Result<Json> with_tensor_bytes(const Json& body, std::string_view bytes, const Limits& limits) {
  Json out = body;
  const Json* inputs = body.get("inputs");
  if (inputs != nullptr && inputs->is_array()) {
    Json filled = Json::array();
    for (const Json& input : inputs->as_array()) {
      std::string path = fmt::format("inputs[{}]", filled.size());
      filled.push_back(input);
      const Json* parameters = input.get("parameters");
      const Json* size = parameters == nullptr ? nullptr : parameters->get("binary_data_size");
      if (size == nullptr) continue;
      if (!size->is_int() || size->as_int() < 0 || static_cast<uint64_t>(size->as_int()) > bytes.size()) {
        return bad(path + ".parameters.binary_data_size",
                   fmt::format("must be in 0..{}, the bytes left", bytes.size()));
      }
      auto n_bytes = static_cast<size_t>(size->as_int());
      int64_t most = limits[LimitId::kBatchPrompts];
      Json data = TRY(read_elements(text_of(input.get("datatype")), bytes.substr(0, n_bytes), path, most));
      filled.as_array().back().set("data", std::move(data));
      bytes.remove_prefix(n_bytes);
    }
    out.set("inputs", std::move(filled));
  }
  if (!bytes.empty()) return bad("inputs", fmt::format("leave {} bytes behind the JSON unclaimed", bytes.size()));
  return out;
}

Result<DialectRequest> parse_kserve_infer(const Json& body, const ParseContext& context, const FormatOptions&) {
  const Json* inputs = body.get("inputs");
  if (inputs == nullptr) return Error{ErrorCode::kMissingField, "inputs is required", "inputs"};
  if (!inputs->is_array()) return bad("inputs", "must be an array");
  const Json* id = body.get("id");
  if (id != nullptr && !id->is_string()) return bad("id", "must be a string");
  bool binary = false;
  Json fields = TRY(read_parameters(body, binary));
  TRY(read_outputs(body, binary));
  CompletionRequest request;
  size_t at = 0;
  for (const Json& input : inputs->as_array()) {
    Tensor tensor = TRY(read_tensor(input, fmt::format("inputs[{}]", at++), context.limits[LimitId::kBatchPrompts]));
    TRY(add_input(tensor, context, fields, request));
  }
  if (request.prompts.empty()) return Error{ErrorCode::kMissingField, "inputs must have text_input", "text_input"};
  if (const Json* model = body.get("model")) fields.set("model", *model);
  fields.set("stream", false);
  ParseContext own = context;
  own.dialect = &kKserveDefaults;
  TRY(read_native_fields(fields, own, request));
  TRY(check_choices(request, own));
  return DialectRequest{.body = std::move(request), .format = make_kserve_infer_format(text_of(id), binary)};
}

}  // namespace millrace::api
