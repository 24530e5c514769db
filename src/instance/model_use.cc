#include <utility>

#include "instance/model_entry.h"
#include "instance/model_set.h"

namespace millrace::instance {

ModelUse::ModelUse(ModelSet& set, std::shared_ptr<ModelEntry> entry, Kind kind)
    : set_(&set), entry_(std::move(entry)), kind_(kind) {}

ModelUse::ModelUse(ModelUse&& other) noexcept
    : only_(std::exchange(other.only_, nullptr)),
      set_(std::exchange(other.set_, nullptr)),
      entry_(std::move(other.entry_)),
      kind_(other.kind_) {}

ModelUse& ModelUse::operator=(ModelUse&& other) noexcept {
  std::swap(only_, other.only_);
  std::swap(set_, other.set_);
  std::swap(entry_, other.entry_);
  std::swap(kind_, other.kind_);
  return *this;
}

ModelUse::~ModelUse() {
  if (entry_ != nullptr) set_->release(entry_, kind_);
}

Instance* ModelUse::instance() const {
  if (entry_ == nullptr) return only_;
  std::lock_guard lock(set_->mutex_);
  return entry_->state == ModelState::kLoaded ? entry_->instance.get() : nullptr;
}

std::optional<Error> ModelUse::failure() const {
  if (entry_ == nullptr) return std::nullopt;
  std::lock_guard lock(set_->mutex_);
  if (entry_->state != ModelState::kFailed) return std::nullopt;
  return entry_->error;
}

void ModelUse::set_keep_alive(Tick keep_alive) const {
  if (entry_ == nullptr) return;
  std::lock_guard lock(set_->mutex_);
  entry_->keep_alive = keep_alive;
}

}  // namespace millrace::instance
