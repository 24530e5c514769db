// Instance::session(): a conversation to a file, back from one, or out of the cache.
#include <fmt/core.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/macros.h"
#include "engine/sessions.h"
#include "instance/instance.h"
#include "instance/session_file.h"

namespace millrace::instance {
namespace {

constexpr uint64_t kMostSessionBytes = uint64_t{2} << 30;  // held in memory while it is written or read
constexpr auto kLook = std::chrono::milliseconds(100);

// What the engine says of a task, for a thread that waits.
class Outcome {
 public:
  void set(Result<void> result) {
    {
      std::lock_guard lock(mutex_);
      result_ = std::move(result);
    }
    changed_.notify_all();
  }
  // Nothing yet after a while: look whether the engine is still there.
  std::optional<Result<void>> wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLook, [this] { return result_.has_value(); });
    return result_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Result<void>> result_;  // guarded by mutex_
};

Result<void> run_task(engine::Engine& engine, const std::shared_ptr<engine::SessionTask>& task) {
  auto outcome = std::make_shared<Outcome>();
  task->done = [outcome](Result<void> result) { outcome->set(std::move(result)); };
  engine.session(task);
  while (true) {
    if (std::optional<Result<void>> result = outcome->wait()) return std::move(*result);
    if (engine.stopped()) return Error{ErrorCode::kDraining, "the server stopped", ""};
  }
}

// What the client is told of a file: not where the folder lies.
Error about_file(const Error& error, const std::string& path, const std::string& filename) {
  std::string message = error.message;
  if (size_t at = message.find(path); at != std::string::npos) message.replace(at, path.size(), filename);
  bool theirs = error.code == ErrorCode::kNotFound || error.code == ErrorCode::kBadFile;
  return {theirs ? ErrorCode::kInvalidValue : error.code, std::move(message), "filename"};
}

}  // namespace

std::string slot_name(int64_t id_slot) { return fmt::format("slot {}", id_slot); }

Result<SessionReport> Instance::session(const SessionCall& call) {
  if (parts_.session_folder.empty()) {
    return Error{ErrorCode::kNotSupported,
                 "This server does not support slots action. Start it with `--slot-save-path`", ""};
  }
  const flow::KvGeometry& kv = parts_.engine.kv;
  runtime::RecordLayout layout{
      .layout = parts_.session_layout, .block_tokens = kv.block_tokens, .block_bytes = kv.block_bytes};
  std::string path = parts_.session_folder + "/" + call.filename;
  Tick begin = clock_.now();
  SessionReport report;
  auto task = std::make_shared<engine::SessionTask>();
  task->verb = call.verb;
  task->name = call.name;
  task->max_bytes = kMostSessionBytes;
  if (call.verb != engine::SessionVerb::kErase) TRY(check_session_name(call.filename));
  if (call.verb == engine::SessionVerb::kRestore) {
    Result<SessionFile> file = read_session(path, layout, kMostSessionBytes + (kMostSessionBytes >> 2));
    if (!file.ok()) return about_file(file.error(), path, call.filename);
    (void)FAULT_POINT("session.read.after");
    report.n_bytes = file->n_bytes;
    task->copy = std::move(file->session);
    task->scope = text_->scope_of_salt(task->copy.cache_salt);
  }
  Result<void> ran = run_task(*engine_, task);
  (void)FAULT_POINT("session.task.after");
  if (!ran.ok()) {
    bool unknown = ran.error().code == ErrorCode::kNotFound;
    return unknown ? Error{ErrorCode::kInvalidValue, ran.error().message, "id_slot"} : ran.error();
  }
  report.n_tokens = task->n_tokens;
  if (call.verb == engine::SessionVerb::kSave) {
    Result<uint64_t> written = write_session(path, layout, task->copy);
    if (!written.ok()) return about_file(written.error(), path, call.filename);
    (void)FAULT_POINT("session.written.after");
    report.n_bytes = *written;
  }
  report.took = clock_.now() - begin;
  return report;
}

}  // namespace millrace::instance
