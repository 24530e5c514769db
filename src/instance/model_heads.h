// What the files of models say of them, read when somebody asks and kept until they change: a model is described
// without being loaded.
// Thread: any; the files are read on a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/task_pool.h"
#include "instance/instance.h"

namespace millrace::instance {

using ReadHeadFn = std::function<Result<ModelHead>(const std::string& name)>;

class ModelHeads {
 public:
  // on_read: after each; no lock is held. Both may be empty.
  ModelHeads(ReadHeadFn read, std::function<void()> on_read);

  // Nothing while it is read. kNotSupported without a reader, kQueueFull when too many wait to be read.
  std::optional<Result<ModelHead>> get(const ModelListing& file);

 private:
  struct Entry {
    int64_t modified_s = 0;  // these two: of the files that were read
    uint64_t file_bytes = 0;
    std::optional<Result<ModelHead>> head;
  };

  const ReadHeadFn read_;
  const std::function<void()> on_read_;
  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;  // guarded by mutex_; by name
  TaskPool reader_;                                    // the last member: its jobs look at the others
};

}  // namespace millrace::instance
