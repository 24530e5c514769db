#include "weights/gguf.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "tensor/formats.h"
#include "weights/gguf_part.h"
#include "weights/mapped_pages.h"
#include "weights/name_check.h"

namespace millrace::weights {

// One part of the file per entry; a file that is not split has one, a parsed span has none.
struct GgufFile::State {
  struct Entry {
    std::string_view name;
    tensor::TensorView view;
    uint32_t part = 0;
  };
  std::string name;
  uint32_t version = 0;
  std::vector<MappedFile> maps;
  std::vector<GgufValue> values;        // of the first part, in file order
  std::vector<uint32_t> values_by_key;  // indices into values, sorted by key
  std::vector<Entry> tensors;           // in file order
  std::vector<uint32_t> tensors_by_name;
  uint64_t bytes = 0;

  const Entry* find_tensor(std::string_view wanted) const {
    auto at = std::lower_bound(tensors_by_name.begin(), tensors_by_name.end(), wanted,
                               [this](uint32_t i, std::string_view text) { return tensors[i].name < text; });
    return at != tensors_by_name.end() && tensors[*at].name == wanted ? &tensors[*at] : nullptr;
  }

  void add_part(const GgufPart& part, uint32_t part_idx) {
    for (const GgufTensor& tensor : part.tensors) {
      tensors.push_back({tensor.name, tensor.view, part_idx});
      bytes += tensor.view.bytes;
    }
  }

  Result<void> index() {
    values_by_key.resize(values.size());
    for (uint32_t i = 0; i < values.size(); ++i) values_by_key[i] = i;
    std::sort(values_by_key.begin(), values_by_key.end(),
              [this](uint32_t a, uint32_t b) { return values[a].key < values[b].key; });
    tensors_by_name.resize(tensors.size());
    for (uint32_t i = 0; i < tensors.size(); ++i) tensors_by_name[i] = i;
    auto name_of = [this](uint32_t i) { return tensors[i].name; };
    std::sort(tensors_by_name.begin(), tensors_by_name.end(),
              [&](uint32_t a, uint32_t b) { return name_of(a) < name_of(b); });
    auto twice = std::adjacent_find(tensors_by_name.begin(), tensors_by_name.end(),
                                    [&](uint32_t a, uint32_t b) { return name_of(a) == name_of(b); });
    if (twice == tensors_by_name.end()) return {};
    std::string shown = show_name(name_of(*twice));
    return Error{ErrorCode::kBadFile, fmt::format("{}: duplicate tensor name \"{}\" in two parts", name, shown), name};
  }
};

namespace {

constexpr int64_t kMaxParts = 65535;  // split.count is a UINT16

std::string file_name_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// "x-00001-of-00003.gguf" -> {"x-", 1, 3}
struct SplitName {
  std::string stem;
  int64_t part = 0;
  int64_t count = 0;
};

std::optional<int64_t> five_digits(std::string_view text) {
  int64_t value = 0;
  auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<SplitName> split_name(const std::string& path) {
  constexpr std::string_view kShape = "00001-of-00003.gguf";
  if (path.size() <= kShape.size()) return std::nullopt;
  std::string_view tail = std::string_view(path).substr(path.size() - kShape.size());
  if (tail.substr(5, 4) != "-of-" || tail.substr(14) != ".gguf") return std::nullopt;
  std::optional<int64_t> part = five_digits(tail.substr(0, 5));
  std::optional<int64_t> count = five_digits(tail.substr(9, 5));
  if (!part || !count) return std::nullopt;
  return SplitName{path.substr(0, path.size() - kShape.size()), *part, *count};
}

int64_t split_number(const GgufPart& part, std::string_view key, int64_t fallback) {
  const GgufValue* value = find_value(part.values, key);
  if (value == nullptr) return fallback;
  return gguf_integer(value->type, value->bytes.data()).value_or(-1);
}

struct SplitReader {
  std::string path;  // of the first part
  int64_t count = 0;
  int64_t n_tensors = 0;  // split.tensors.count of the first part; -1 = not said

  Error bad(int64_t part, std::string_view why) const {
    std::string what = fmt::format("part {} of {} {} {}", part, count, why, file_name_of(path));
    return {ErrorCode::kBadFile, fmt::format("{}: {}", path, what), path};
  }

  Result<void> check_first(const GgufPart& first) const {
    std::optional<SplitName> shape = split_name(path);
    if (count < 1 || count > kMaxParts) {
      return Error{ErrorCode::kBadFile, fmt::format("{}: split.count = {}: must be 1..{}", path, count, kMaxParts),
                   path};
    }
    if (!shape) return count == 1 ? Result<void>() : bad(2, "not found next to");
    if (shape->count != count) {
      std::string what = fmt::format("split.count = {}, but the name says {} parts", count, shape->count);
      return Error{ErrorCode::kBadFile, fmt::format("{}: {}", path, what), path};
    }
    if (shape->part != 1 || split_number(first, "split.no", 0) != 0) {
      return Error{ErrorCode::kBadFile, fmt::format("{}: not the first part; open part 1 of {}", path, count), path};
    }
    return {};
  }

  // Part i (from 1) beside the first one: mapped, parsed and of the same model.
  Result<std::pair<MappedFile, GgufPart>> read(int64_t i) const {
    std::string part_path = fmt::format("{}{:05}-of-{:05}.gguf", split_name(path)->stem, i, count);
    if (!file_exists(part_path)) return bad(i, "not found next to");
    MappedFile map = TRY(MappedFile::open(part_path));
    GgufPart part = TRY(parse_gguf_part(map.bytes(), part_path));
    bool same = split_number(part, "split.count", -1) == count && split_number(part, "split.no", -1) == i - 1 &&
                split_number(part, "split.tensors.count", -1) == n_tensors;
    if (!same) return bad(i, "does not belong to the model of");
    return std::pair<MappedFile, GgufPart>(std::move(map), std::move(part));
  }
};

}  // namespace

Result<GgufFile> GgufFile::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->name = path;
  state->maps.push_back(TRY(MappedFile::open(path)));
  GgufPart first = TRY(parse_gguf_part(state->maps[0].bytes(), path));
  SplitReader split{path, split_number(first, "split.count", 1), split_number(first, "split.tensors.count", -1)};
  TRY(split.check_first(first));
  state->version = first.version;
  state->add_part(first, 0);
  state->values = std::move(first.values);
  for (int64_t i = 2; i <= split.count; ++i) {
    auto next = TRY(split.read(i));
    state->maps.push_back(std::move(next.first));
    state->add_part(next.second, static_cast<uint32_t>(i - 1));
  }
  if (split.count > 1 && split.n_tensors != static_cast<int64_t>(state->tensors.size())) {
    std::string what = fmt::format("split.tensors.count = {}, parts hold {}", split.n_tensors, state->tensors.size());
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}", path, what), path};
  }
  TRY(state->index());
  for (const MappedFile& map : state->maps) TRY(map.check_unchanged());
  return GgufFile(std::move(state));
}

Result<GgufFile> GgufFile::parse(std::span<const uint8_t> bytes, std::string name) {
  auto state = std::make_unique<State>();
  GgufPart part = TRY(parse_gguf_part(bytes, name));
  SplitReader split{name, split_number(part, "split.count", 1), -1};
  if (split.count > 1) return split.bad(2, "not found next to");
  state->name = std::move(name);
  state->version = part.version;
  state->add_part(part, 0);
  state->values = std::move(part.values);
  TRY(state->index());
  return GgufFile(std::move(state));
}

GgufFile::GgufFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

const std::string& GgufFile::name() const { return state_->name; }
uint32_t GgufFile::version() const { return state_->version; }
std::span<const GgufValue> GgufFile::values() const { return state_->values; }

const GgufValue* GgufFile::find(std::string_view key) const {
  const std::vector<GgufValue>& values = state_->values;
  const std::vector<uint32_t>& order = state_->values_by_key;
  auto at = std::lower_bound(order.begin(), order.end(), key,
                             [&values](uint32_t i, std::string_view text) { return values[i].key < text; });
  return at != order.end() && values[*at].key == key ? &values[*at] : nullptr;
}

bool GgufFile::has(std::string_view name) const { return state_->find_tensor(name) != nullptr; }

Result<tensor::TensorView> GgufFile::tensor(std::string_view name) const {
  const State::Entry* entry = state_->find_tensor(name);
  if (entry == nullptr) {
    std::string what = fmt::format("{}: tensor \"{}\" is missing", state_->name, show_name(name));
    return Error{ErrorCode::kBadFile, std::move(what), std::string(name)};
  }
  if (entry->part < state_->maps.size()) TRY(state_->maps[entry->part].check_unchanged());
  return entry->view;
}

std::vector<std::string_view> GgufFile::names() const {
  std::vector<std::string_view> out;
  out.reserve(state_->tensors.size());
  for (const State::Entry& entry : state_->tensors) out.push_back(entry.name);
  return out;
}

uint64_t GgufFile::bytes() const { return state_->bytes; }

void GgufFile::release(std::string_view name) const {
  const State::Entry* entry = state_->find_tensor(name);
  if (entry != nullptr && entry->part < state_->maps.size()) release_pages(entry->view.data, entry->view.bytes);
}

}  // namespace millrace::weights
