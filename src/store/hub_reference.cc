#include "store/hub_reference.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/macros.h"

namespace millrace::store {
namespace {

constexpr std::string_view kScheme = "hf://";
constexpr std::string_view kGguf = ".gguf";
constexpr size_t kMaxName = 96;  // of an owner or a repository, as the hub has it
constexpr size_t kMaxFiles = 10'000;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' && name.front() != '-' &&
         name.find("..") == std::string_view::npos && std::all_of(name.begin(), name.end(), is_name_char);
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/' || path.back() == '/') return false;
  while (true) {
    std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part.front() == '.' || part.size() > 255) return false;
    for (char c : part) {
      if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7F) return false;
    }
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "-00002-of-00005" before ".gguf": the number of parts; nothing when the file is whole.
struct Split {
  std::string_view stem;
  std::string_view count;
  bool first;
};
std::optional<Split> split_of(std::string_view path) {
  constexpr size_t kTail = std::string_view("-00001-of-00005.gguf").size();
  if (path.size() <= kTail) return std::nullopt;
  std::string_view tail = path.substr(path.size() - kTail);
  auto digits = [](std::string_view text) { return text.find_first_not_of("0123456789") == std::string_view::npos; };
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !digits(tail.substr(1, 5)) || !digits(tail.substr(10, 5)))
    return std::nullopt;
  return Split{path.substr(0, path.size() - kTail), tail.substr(10, 5), tail.substr(1, 5) == "00001"};
}

// The quant stands between marks: Q4_K is not in "x-Q4_K_M.gguf".
bool has_quant(std::string_view path, std::string_view quant) {
  const std::string name = upper(base_name(path));
  for (size_t at = name.find(quant); at != std::string::npos; at = name.find(quant, at + 1)) {
    auto is_word = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
    bool begins = at == 0 || !is_word(name[at - 1]) || name[at - 1] == '_';
    bool ends = at + quant.size() == name.size() || !is_word(name[at + quant.size()]);
    if (begins && ends) return true;
  }
  return false;
}

bool is_root_weight(const HubFile& file) {
  return file.path.ends_with(".safetensors") && file.path.find('/') == std::string::npos &&
         !file.path.starts_with("consolidated");
}

// What a Hugging Face folder needs besides its weights.
bool is_side_file(std::string_view path) {
  static constexpr std::string_view kNames[] = {"config.json",
                                                "generation_config.json",
                                                "tokenizer.json",
                                                "tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "vocab.json",
                                                "merges.txt",
                                                "tokenizer.model",
                                                "chat_template.jinja",
                                                "chat_template.json",
                                                "model.safetensors.index.json"};
  return std::find(std::begin(kNames), std::end(kNames), path) != std::end(kNames);
}

Error nothing_fits(const HubTree& tree, const HubReference& reference, std::string_view wanted) {
  std::string have;
  size_t shown = 0;
  for (const HubFile& file : tree.files) {
    if (!file.path.ends_with(kGguf) && !file.path.ends_with(".safetensors")) continue;
    if (++shown <= 20) have += (have.empty() ? "" : ", ") + quote_for_message(file.path);
  }
  if (shown > 20) have += fmt::format(" and {} more", shown - 20);
  return {ErrorCode::kNotFound,
          fmt::format("{} has no {}; its weight files: {}", reference.text(), wanted, have.empty() ? "none" : have),
          "MODEL"};
}

// The file, or all of the split set that it begins.
Result<HubChoice> whole_set(const HubTree& tree, const HubFile& file) {
  HubChoice choice{.files = {}, .entry = file.path};
  const auto split = split_of(file.path);
  if (!split) {
    choice.files.push_back(file);
    return choice;
  }
  for (const HubFile& other : tree.files) {
    const auto part = split_of(other.path);
    if (part && part->stem == split->stem && part->count == split->count) {
      choice.files.push_back(other);
      if (part->first) choice.entry = other.path;
    }
  }
  std::sort(choice.files.begin(), choice.files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  if (fmt::format("{:05}", choice.files.size()) != split->count) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("{}: {} of {} parts are in the repository", quote_for_message(file.path),
                             choice.files.size(), split->count),
                 "MODEL"};
  }
  return choice;
}

Result<HubFile> read_file_row(const Json& row) {
  const Json* path = row.get("rfilename");
  if (path == nullptr || !path->is_string() || !is_safe_path(path->as_string())) {
    return Error{ErrorCode::kBadFile,
                 fmt::format("the hub lists a file under an unusable name: {}",
                             path == nullptr ? "none" : quote_for_message(path->dump())),
                 ""};
  }
  HubFile file{.path = path->as_string()};
  const Json* lfs = row.get("lfs");
  const Json* size = row.get("size");
  if (const Json* inner = lfs == nullptr ? nullptr : lfs->get("size"); inner != nullptr) size = inner;
  if (size != nullptr && size->is_int() && size->as_int() >= 0) file.bytes = static_cast<uint64_t>(size->as_int());
  if (const Json* sha = lfs == nullptr ? nullptr : lfs->get("sha256"); sha != nullptr) {
    if (!sha->is_string() || !is_sha256(sha->as_string()))
      return Error{ErrorCode::kBadFile, fmt::format("the hub has no sha256 for {}", quote_for_message(file.path)), ""};
    file.sha256 = sha->as_string();
  }
  return file;
}

}  // namespace

std::string HubReference::selection() const {
  std::string out = !file.empty() ? file : !quant.empty() ? quant : "default";
  std::replace(out.begin(), out.end(), '/', '+');
  return out;
}

std::string HubReference::text() const {
  return repo + (revision == "main" ? "" : "@" + revision) + (quant.empty() ? "" : ":" + quant);
}

bool is_hub_reference(std::string_view text) {
  if (text.starts_with(kScheme)) return true;
  if (text.starts_with("/") || text.starts_with(".") || text.starts_with("~")) return false;
  return !text.ends_with(kGguf) && parse_hub_reference(text).ok();
}

Result<HubReference> parse_hub_reference(std::string_view text) {
  HubReference out;
  std::string_view rest = text;
  if (rest.starts_with(kScheme)) rest.remove_prefix(kScheme.size());
  auto wrong = [&](std::string_view what) {
    return Error{ErrorCode::kUsage,
                 fmt::format("{}: {}; want OWNER/NAME[@REVISION][:QUANT]", quote_for_message(text), what), "MODEL"};
  };
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return wrong("no slash between owner and name");
  if (size_t colon = rest.find(':', slash); colon != std::string_view::npos) {
    out.quant = upper(rest.substr(colon + 1));
    rest = rest.substr(0, colon);
    if (!is_name(out.quant)) return wrong("the part after : is no quant");
  }
  if (size_t at = rest.find('@', slash); at != std::string_view::npos) {
    out.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!is_name(out.revision)) return wrong("the part after @ is no revision");
  }
  if (!is_name(rest.substr(0, slash)) || !is_name(rest.substr(slash + 1))) return wrong("not a name of a hub");
  out.repo = rest;
  return out;
}

Result<HubTree> parse_hub_tree(std::string_view json) {
  const Json root = TRY(parse_json(json, {}));
  const Json* commit = root.get("sha");
  const Json* rows = root.get("siblings");
  if (commit == nullptr || !commit->is_string() || !is_name(commit->as_string()) || rows == nullptr ||
      !rows->is_array() || rows->size() > kMaxFiles) {
    return Error{ErrorCode::kBadFile, "the hub's answer is no list of a model's files (sha and siblings)", ""};
  }
  HubTree tree{.commit = commit->as_string(), .files = {}};
  std::set<std::string, std::less<>> seen;
  for (const Json& row : rows->as_array()) {
    // hidden files (.gitattributes) are no part of a model
    const Json* path = row.get("rfilename");
    if (path != nullptr && path->is_string() && path->as_string().starts_with(".git")) continue;
    HubFile file = TRY(read_file_row(row));
    if (seen.insert(file.path).second) tree.files.push_back(std::move(file));
  }
  return tree;
}

Result<HubChoice> choose_files(const HubTree& tree, const HubReference& reference) {
  if (!reference.file.empty()) {
    for (const HubFile& file : tree.files) {
      if (file.path == reference.file) return whole_set(tree, file);
    }
    return nothing_fits(tree, reference, "file " + quote_for_message(reference.file));
  }
  std::vector<const HubFile*> ggufs;
  bool has_weights = false, has_config = false;
  for (const HubFile& file : tree.files) {
    if (file.path.ends_with(kGguf) && upper(base_name(file.path)).find("MMPROJ") == std::string::npos)
      ggufs.push_back(&file);
    has_weights = has_weights || is_root_weight(file);
    has_config = has_config || file.path == "config.json";
  }
  std::sort(ggufs.begin(), ggufs.end(), [](const HubFile* a, const HubFile* b) { return a->path < b->path; });
  auto of_quant = [&](std::string_view quant) -> const HubFile* {
    for (const HubFile* file : ggufs) {
      if (has_quant(file->path, quant)) return file;
    }
    return nullptr;
  };
  if (!reference.quant.empty()) {
    const HubFile* file = of_quant(reference.quant);
    if (file == nullptr) return nothing_fits(tree, reference, "GGUF file of quant " + reference.quant);
    return whole_set(tree, *file);
  }
  if (has_weights && has_config) {
    HubChoice choice;
    for (const HubFile& file : tree.files) {
      if (is_side_file(file.path) || is_root_weight(file)) choice.files.push_back(file);
    }
    return choice;
  }
  if (ggufs.empty()) return nothing_fits(tree, reference, "GGUF file, nor safetensors with a config.json");
  const HubFile* file = of_quant("Q4_K_M");
  if (file == nullptr) file = of_quant("Q8_0");
  return whole_set(tree, file != nullptr ? *file : *ggufs.front());
}

}  // namespace millrace::store
