// Names of models on a hub that speaks the Hugging Face protocol, and which files of a repository make the model.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::store {

// [hf://]OWNER/NAME[@REVISION][:QUANT]
struct HubReference {
  std::string repo;  // "OWNER/NAME"
  std::string revision = "main";
  std::string quant;  // "Q4_K_M", upper case; empty: choose_files() picks
  std::string file;   // of --hf-file: this file and nothing else

  // What of the repository is meant, as part of a file name: the quant, the file, or "default".
  std::string selection() const;
  // OWNER/NAME[@REVISION][:QUANT]
  std::string text() const;
};

// True for text that can only be a hub name: hf://..., or one slash between two names and nothing a path would have.
bool is_hub_reference(std::string_view text);
// kUsage with what is wrong.
Result<HubReference> parse_hub_reference(std::string_view text);

struct HubFile {
  std::string path;  // in the repository, '/' between folders
  uint64_t bytes = 0;
  std::string sha256;  // 64 hexadecimal digits; empty: the hub has none (small files kept in git)
};
// A repository at one commit.
struct HubTree {
  std::string commit;
  std::vector<HubFile> files;
};
// The answer of GET /api/models/OWNER/NAME/revision/REVISION?blobs=true. kBadFile for what is not one, and for paths
// that would leave the folder.
Result<HubTree> parse_hub_tree(std::string_view json);

struct HubChoice {
  std::vector<HubFile> files;
  std::string entry;  // path of the .gguf to open (the first of a split set); empty: the folder itself
};
// A file asked for by name or quant; without either safetensors with their config.json, else the .gguf of Q4_K_M, of
// Q8_0 or the first one. Split sets are taken whole. kNotFound lists what there is.
Result<HubChoice> choose_files(const HubTree& tree, const HubReference& reference);

}  // namespace millrace::store
