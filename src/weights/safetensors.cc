#include "weights/safetensors.h"

#include <dirent.h>
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/limits.h"
#include "base/macros.h"
#include "weights/mapped_pages.h"
#include "weights/name_check.h"
#include "weights/plain_file.h"

namespace millrace::weights {

struct SafetensorsDir::State {
  struct Entry {
    SafetensorsEntry tensor;
    uint32_t shard = 0;
  };
  std::string folder;
  std::vector<MappedFile> maps;           // one per shard
  std::vector<Entry> tensors;             // in file order
  std::vector<uint32_t> tensors_by_name;  // indices into tensors
  uint64_t bytes = 0;
  Json config;
  std::optional<Json> generation_config;
  std::optional<Json> tokenizer_config;
  std::optional<Json> sentence_config;
  std::optional<Json> pooling_config;
  std::optional<std::string> vocab_txt;
  std::optional<std::string> tokenizer_json;
  std::optional<std::string> chat_template;

  const std::string& name_of(uint32_t i) const { return tensors[i].tensor.name; }

  const Entry* find(std::string_view name) const {
    auto at = std::lower_bound(tensors_by_name.begin(), tensors_by_name.end(), name,
                               [this](uint32_t i, std::string_view text) { return name_of(i) < text; });
    return at != tensors_by_name.end() && name_of(*at) == name ? &tensors[*at] : nullptr;
  }

  Error bad(std::string what) const { return {ErrorCode::kBadFile, fmt::format("{}: {}", folder, what), folder}; }

  Result<void> add_shard(const std::string& file_name) {
    std::string path = TRY(plain_file(folder, file_name));
    maps.push_back(TRY(MappedFile::open(path)));
    std::vector<SafetensorsEntry> entries = TRY(parse_safetensors(maps.back().bytes(), path));
    for (SafetensorsEntry& entry : entries) {
      bytes += entry.view.bytes;
      tensors.push_back({std::move(entry), static_cast<uint32_t>(maps.size() - 1)});
    }
    return maps.back().check_unchanged();
  }

  Result<void> index() {
    tensors_by_name.resize(tensors.size());
    for (uint32_t i = 0; i < tensors.size(); ++i) tensors_by_name[i] = i;
    std::sort(tensors_by_name.begin(), tensors_by_name.end(),
              [this](uint32_t a, uint32_t b) { return name_of(a) < name_of(b); });
    auto twice = std::adjacent_find(tensors_by_name.begin(), tensors_by_name.end(),
                                    [this](uint32_t a, uint32_t b) { return name_of(a) == name_of(b); });
    if (twice == tensors_by_name.end()) return {};
    return bad(fmt::format("duplicate tensor name \"{}\" in two shards", show_name(name_of(*twice))));
  }

  // The text of an optional file of the folder.
  Result<std::optional<std::string>> read_optional(const std::string& file_name, LimitId limit) const {
    return read_optional_in(folder, file_name, limit);
  }
  static Result<std::optional<std::string>> read_optional_in(const std::string& where, const std::string& file_name,
                                                             LimitId limit) {
    std::string path = TRY(plain_file(where, file_name));
    if (!file_exists(path)) return std::optional<std::string>();
    return std::optional<std::string>(TRY(read_file(path, static_cast<uint64_t>(Limits()[limit]))));
  }

  Result<std::optional<Json>> read_json(const std::string& file_name, const std::string& sub_folder = "") const {
    std::string where = sub_folder.empty() ? folder : folder + "/" + sub_folder;
    std::optional<std::string> text = TRY(read_optional_in(where, file_name, LimitId::kConfigBytes));
    if (!text) return std::optional<Json>();
    Result<Json> json = parse_json(*text);
    if (!json.ok()) return bad(fmt::format("{} is {}", file_name, json.error().message));
    if (!json->is_object()) return bad(fmt::format("{} must be a JSON object", file_name));
    return std::optional<Json>(std::move(json).value());
  }

  Result<void> read_configs() {
    std::optional<Json> read = TRY(read_json("config.json"));
    if (!read) return Error{ErrorCode::kNotFound, fmt::format("{}: config.json not found", folder), folder};
    config = std::move(*read);
    if (config.find("auto_map") != nullptr) return bad("config.json: custom code (\"auto_map\") is not supported");
    generation_config = TRY(read_json("generation_config.json"));
    tokenizer_config = TRY(read_json("tokenizer_config.json"));
    tokenizer_json = TRY(read_optional("tokenizer.json", LimitId::kTokenizerBytes));
    chat_template = TRY(read_optional("chat_template.jinja", LimitId::kConfigBytes));
    sentence_config = TRY(read_json("sentence_bert_config.json"));
    pooling_config = TRY(read_json("config.json", "1_Pooling"));
    if (!tokenizer_json) vocab_txt = TRY(read_optional("vocab.txt", LimitId::kTokenizerBytes));
    return {};
  }

  Result<void> open_sharded(const Json& index_json);
  Result<void> open_weights();
};

namespace {

bool ends_with(std::string_view text, std::string_view tail) {
  return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

// Whether a folder without safetensors holds weights in a pickle container.
bool has_pickles(const std::string& folder) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (dir == nullptr) return false;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string_view name = entry->d_name;
    for (std::string_view tail : {".bin", ".pt", ".pth", ".pkl", ".ckpt"}) {
      if (ends_with(name, tail)) return true;
    }
  }
  return false;
}

}  // namespace

Result<void> SafetensorsDir::State::open_sharded(const Json& index_json) {
  const Json* weight_map = index_json.find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return bad("model.safetensors.index.json: weight_map must be an object");
  }
  std::vector<std::string> shards;
  for (const auto& member : weight_map->as_object().members) {
    if (!member.second.is_string()) return bad("model.safetensors.index.json: weight_map must map names to file names");
    const std::string& shard = member.second.as_string();
    if (std::find(shards.begin(), shards.end(), shard) != shards.end()) continue;
    constexpr size_t kMaxShards = 4096;
    if (shards.size() == kMaxShards) return bad(fmt::format("shard count exceeds limit {}", kMaxShards));
    shards.push_back(shard);
  }
  for (const std::string& shard : shards) TRY(plain_file(folder, shard));
  for (const std::string& shard : shards) {
    TRY(add_shard(shard));
    for (const Entry& entry : tensors) {
      if (entry.shard + 1 != maps.size()) continue;
      const Json* listed = weight_map->find(entry.tensor.name);
      if (listed != nullptr && listed->as_string() == shard) continue;
      return bad(fmt::format("tensor \"{}\" of {} is not listed in model.safetensors.index.json",
                             show_name(entry.tensor.name), show_name(shard)));
    }
  }
  TRY(index());
  for (const auto& member : weight_map->as_object().members) {
    if (find(member.first) != nullptr) continue;
    return bad(fmt::format("tensor \"{}\" is listed in {} but is not there", show_name(member.first),
                           show_name(member.second.as_string())));
  }
  return {};
}

Result<void> SafetensorsDir::State::open_weights() {
  std::optional<Json> index_json = TRY(read_json("model.safetensors.index.json"));
  if (index_json) return open_sharded(*index_json);
  if (file_exists(folder + "/model.safetensors")) {
    TRY(add_shard("model.safetensors"));
    return index();
  }
  if (has_pickles(folder)) return bad("pickle weights are refused; convert to safetensors");
  return Error{ErrorCode::kNotFound, fmt::format("{}: model.safetensors not found", folder), folder};
}

Result<SafetensorsDir> SafetensorsDir::open(const std::string& folder) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  if (!is_directory(folder)) return Error{ErrorCode::kNotFound, fmt::format("{}: not a folder", folder), folder};
  TRY(state->read_configs());
  TRY(state->open_weights());
  return SafetensorsDir(std::move(state));
}

SafetensorsDir::SafetensorsDir(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsDir::SafetensorsDir(SafetensorsDir&&) noexcept = default;
SafetensorsDir& SafetensorsDir::operator=(SafetensorsDir&&) noexcept = default;
SafetensorsDir::~SafetensorsDir() = default;

const std::string& SafetensorsDir::folder() const { return state_->folder; }
const Json& SafetensorsDir::config() const { return state_->config; }
const Json* SafetensorsDir::generation_config() const {
  return state_->generation_config ? &*state_->generation_config : nullptr;
}
const Json* SafetensorsDir::tokenizer_config() const {
  return state_->tokenizer_config ? &*state_->tokenizer_config : nullptr;
}
const Json* SafetensorsDir::sentence_config() const {
  return state_->sentence_config ? &*state_->sentence_config : nullptr;
}
const Json* SafetensorsDir::pooling_config() const {
  return state_->pooling_config ? &*state_->pooling_config : nullptr;
}
const std::optional<std::string>& SafetensorsDir::vocab_txt() const { return state_->vocab_txt; }
const std::optional<std::string>& SafetensorsDir::tokenizer_json() const { return state_->tokenizer_json; }
const std::optional<std::string>& SafetensorsDir::chat_template() const { return state_->chat_template; }

bool SafetensorsDir::has(std::string_view name) const { return state_->find(name) != nullptr; }

Result<tensor::TensorView> SafetensorsDir::tensor(std::string_view name) const {
  const State::Entry* entry = state_->find(name);
  if (entry == nullptr) {
    std::string what = fmt::format("{}: tensor \"{}\" is missing", state_->folder, show_name(name));
    return Error{ErrorCode::kBadFile, std::move(what), std::string(name)};
  }
  TRY(state_->maps[entry->shard].check_unchanged());
  return entry->tensor.view;
}

std::vector<std::string_view> SafetensorsDir::names() const {
  std::vector<std::string_view> out;
  out.reserve(state_->tensors.size());
  for (const State::Entry& entry : state_->tensors) out.push_back(entry.tensor.name);
  return out;
}

uint64_t SafetensorsDir::bytes() const { return state_->bytes; }

void SafetensorsDir::release(std::string_view name) const {
  const State::Entry* entry = state_->find(name);
  if (entry != nullptr) release_pages(entry->tensor.view.data, entry->tensor.view.bytes);
}

}  // namespace millrace::weights
