#include "instance/model_heads.h"

#include <utility>

namespace millrace::instance {
namespace {

constexpr size_t kMostWaiting = 64;
constexpr size_t kMostKept = 1024;

}  // namespace

ModelHeads::ModelHeads(ReadHeadFn read, std::function<void()> on_read)
    : read_(std::move(read)), on_read_(std::move(on_read)), reader_(1, kMostWaiting) {}

std::optional<Result<ModelHead>> ModelHeads::get(const ModelListing& file) {
  if (!read_) return Error{ErrorCode::kNotSupported, "this server does not describe models", "model"};
  std::lock_guard lock(mutex_);
  auto found = entries_.find(file.name);
  bool same = found != entries_.end() && found->second.modified_s == file.modified_s &&
              found->second.file_bytes == file.file_bytes;
  if (same) return found->second.head;
  bool posted = reader_.try_post([this, file] {
    Result<ModelHead> head = read_(file.name);
    {
      std::lock_guard guard(mutex_);
      if (entries_.size() > kMostKept) entries_.clear();
      entries_.insert_or_assign(file.name, Entry{file.modified_s, file.file_bytes, std::move(head)});
    }
    if (on_read_) on_read_();
  });
  if (!posted) return Error{ErrorCode::kQueueFull, "too many models wait to be described", "model"};
  entries_.insert_or_assign(file.name, Entry{file.modified_s, file.file_bytes, std::nullopt});
  return std::nullopt;
}

}  // namespace millrace::instance
