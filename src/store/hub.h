// Models of a hub in the local store: fetched once, checked, found again without a network. The Hugging Face protocol:
// GET /api/models/OWNER/NAME/revision/REVISION?blobs=true lists the files, GET /OWNER/NAME/resolve/COMMIT/PATH gives
// one.
//
//   ROOT/hub/OWNER--NAME/refs/REVISION              the commit
//   ROOT/hub/OWNER--NAME/COMMIT/PATH                complete files; PATH.part while they arrive
//   ROOT/hub/OWNER--NAME/COMMIT/.have-SELECTION     the paths of a complete selection, entry first; written last
//
// Sizes are always checked, sha256 where the hub has one (every weight file). Thread: one at a time; a lock file keeps
// other processes out of a repository while it is fetched.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/hub_reference.h"

namespace millrace::store {

struct HubSettings {
  std::string endpoint;     // URL without a path; empty: none, only what is local is used
  std::string token;        // sent to the endpoint only
  std::string offline;      // the switch that forbids the network ("--offline"); empty: allowed
  uint32_t stall_s = 10;    // a transfer that stands still for so long is tried again
  uint32_t retry_ms = 500;  // before the second try; doubles up to 16 times that
  uint32_t n_tries = 5;     // in a row that bring less than 64 KiB each

  // HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT.
  static HubSettings from_environment();
};

// Told bytes of all files; returns false to stop.
using HubProgressFn = std::function<bool(uint64_t bytes, uint64_t total)>;

class Hub {
 public:
  Hub(std::string root, HubSettings settings);

  // A complete selection in the store: path of the .gguf or of the folder.
  std::optional<std::string> find(const HubReference& reference) const;
  // Asks the hub which commit the revision is now, fetches what is missing, and checks it.
  // kNotFound: no such model, file or quant, or offline; kBadFile: a checksum differs (nothing of the file is kept);
  // kResource: the disk is too small; kIo: the network; kCancelled.
  Result<std::string> fetch(const HubReference& reference, const HubProgressFn& progress) const;

  struct Entry {
    HubReference reference;
    std::string path;
  };
  // Every complete selection of every repository.
  std::vector<Entry> list() const;
  // Removes one selection (a quant or file is named, or the default one), and the repository when nothing is left.
  // False when there is none.
  Result<bool> remove(const HubReference& reference) const;

 private:
  std::string folder(const HubReference& reference) const;
  Result<void> fetch_file(const HubReference& reference, const HubFile& file, const std::string& commit,
                          const HubProgressFn& progress, uint64_t done, uint64_t total) const;

  std::string root_;
  HubSettings settings_;
};

// The same model in the cache of the huggingface_hub package (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub),
// which is only read.
std::optional<std::string> find_in_huggingface_cache(const HubReference& reference);

}  // namespace millrace::store
