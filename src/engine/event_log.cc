#include "engine/event_log.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "base/byte_reader.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/macros.h"
#include "engine/engine.h"
#include "engine/options_json.h"
#include "engine/sessions.h"

namespace millrace::engine {
namespace {

constexpr size_t kEndBytes = 1;  // room kept for the last mark

void put(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_signed(std::string& out, int64_t value) {
  put(out, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

void put_tokens(std::string& out, const std::vector<TokenId>& tokens) {
  put(out, tokens.size());
  for (TokenId token : tokens) put_signed(out, token);
}

void put_fixed(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// It matters only which are equal, and which are empty.
void put_name(std::string& out, const std::string& name) { put(out, name.empty() ? 0 : checksum64(as_bytes(name))); }

void put_text(std::string& out, const std::string& text) {
  put(out, text.size());
  out += text;
}

void put_session(std::string& out, const SessionTask& task) {
  put(out, static_cast<uint64_t>(task.verb));
  put_name(out, task.name);
  put(out, task.scope);
  put(out, task.max_bytes);
  put_text(out, task.copy.cache_salt);
  put_tokens(out, task.copy.tokens);
  put(out, task.copy.blocks.size());
  for (const flow::SessionBlock& block : task.copy.blocks) put(out, block.kv_groups);
}

void put_candidates(std::string& out, const std::vector<flow::TokenLogprob>& top) {
  put(out, top.size());
  for (const flow::TokenLogprob& one : top) {
    put_signed(out, one.token);
    put(out, std::bit_cast<uint32_t>(one.logprob));
  }
}

void put_request(std::string& out, const flow::GenerateRequest& r) {
  put(out, r.tenant);
  put(out, r.scope);
  put_signed(out, r.band);
  put_signed(out, r.arrival);
  put_signed(out, r.deadline);
  put(out, r.weight);
  put_signed(out, r.ttft_slo);
  put_signed(out, r.itl_slo);
  put(out, r.n);
  put(out, r.use_prefix_cache ? 1 : 0);
  put(out, r.retention);
  put_signed(out, r.session_ttl);
  put(out, r.window_tokens);
  put(out, r.sink_tokens);
  put_name(out, r.session);
  put_text(out, r.cache_salt);
  put(out, r.beam_width);
  put(out, std::bit_cast<uint32_t>(r.length_penalty));
  put(out, static_cast<uint64_t>(r.beam_stop));
  put(out, r.sampling.seed);
  put(out, r.sampling.max_tokens);
  put(out, r.sampling.min_tokens);
  put(out, r.sampling.ignore_eos ? 1 : 0);
  put_signed(out, r.sampling.n_logprobs);
  put_signed(out, r.sampling.n_prompt_logprobs);
  put(out, static_cast<uint64_t>(r.sampling.pooling));
  put_tokens(out, r.sampling.stop_token_ids);
  put_tokens(out, r.sampling.eos_token_ids);
  put_tokens(out, r.prompt);
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::create(const std::string& path, uint64_t max_bytes) {
  // it holds prompts: for its owner only
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
  std::FILE* file = fd < 0 ? nullptr : ::fdopen(fd, "wb");
  if (file == nullptr) {
    return Error{ErrorCode::kIo, fmt::format("{}: cannot be written: {}", path, std::strerror(errno)), ""};
  }
  (void)FAULT_POINT("events.open.after");
  return std::unique_ptr<EventLog>(new EventLog(file, max_bytes));
}

EventLog::~EventLog() {
  (void)FAULT_POINT("events.end.before");
  char end = static_cast<char>(EventRecord::kEnd);
  if (!cut_)
    (void)write_all(::fileno(file_), as_bytes({&end, 1}), "");  // without it the log reads as one of a killed process
  std::fclose(file_);
}

void EventLog::write(std::string_view bytes) {
  if (cut_) return;
  int fd = ::fileno(file_);  // not through its buffer, of which a failed write would leave some part
  bool fits = n_bytes_ + bytes.size() + kEndBytes <= max_bytes_;
  // at once: a post-mortem needs the last step
  Result<void> written = fits ? write_all(fd, as_bytes(bytes), "event log") : Result<void>();
  if (fits && written.ok()) {
    (void)FAULT_POINT("events.write.after");
    n_bytes_ += bytes.size();
    return;
  }
  cut_ = true;
  char mark = static_cast<char>(EventRecord::kCut);
  // a part of a record is taken back: with the mark behind it, it could read as a whole one
  auto whole = static_cast<off_t>(n_bytes_);
  if (::ftruncate(fd, whole) == 0 && ::lseek(fd, whole, SEEK_SET) == whole)
    (void)write_all(fd, as_bytes({&mark, 1}), "event log");
  LOG(LogLevel::kWarning, "the event log ends after {} bytes: {}", n_bytes_,
      fits ? written.error().message : "its limit is reached");
}

void EventLog::begin(const EngineOptions& options) {
  std::string header(kEventLogMagic);
  header.push_back(static_cast<char>(kEventLogVersion));
  std::string json = setup_to_json(options).dump();
  put(header, json.size());
  header += json;
  write(header);
}

void EventLog::begin_step(Tick now) {
  now_ = now;
  n_messages_ = n_outputs_ = n_answers_ = 0;
  planned_ = false;
  answers_.clear();
  messages_.clear();
  outputs_.clear();
}

void EventLog::add_message(const Message& message) {
  ++n_messages_;
  put(messages_, static_cast<uint64_t>(message.kind));
  put(messages_, message.id);
  put(messages_, message.fork);
  if (message.request.has_value()) put_request(messages_, *message.request);
  if (message.session != nullptr) put_session(messages_, *message.session);
}

void EventLog::set_plan(uint64_t state_hash) {
  planned_ = true;
  state_hash_ = state_hash;
}

void EventLog::add_tier_events(std::span<const flow::TierEvent> events) {
  ++n_answers_;
  put(answers_, static_cast<uint64_t>(TierAnswer::kEvents));
  put(answers_, events.size());
  for (const flow::TierEvent& event : events) {
    put(answers_, static_cast<uint64_t>(event.kind));
    answers_ += as_text(event.name);
    put(answers_, event.kv_groups);
    put(answers_, event.load);
    put(answers_, event.n_blocks);
  }
}

void EventLog::add_tier_number(uint64_t value) {
  ++n_answers_;
  put(answers_, static_cast<uint64_t>(TierAnswer::kNumber));
  put(answers_, value);
}

void EventLog::add_output(const flow::StepOutput& output, std::span<const uint8_t> of_beams, Tick now) {
  ++n_outputs_;
  put(outputs_, output.step);
  put_signed(outputs_, now);
  put_signed(outputs_, output.took);
  put(outputs_, output.ok ? 1 : 0);
  put(outputs_, static_cast<uint64_t>(output.error.code));
  put(outputs_, output.shares.size());
  for (size_t i = 0; i < output.shares.size(); ++i) {
    const flow::ShareResult& share = output.shares[i];
    bool has_token = share.token != kNoToken;
    bool candidates = share.logprobs != nullptr && i < of_beams.size() && of_beams[i] != 0;
    bool drafts = !share.further.empty() || share.n_proposed > 0;
    put(outputs_, (has_token ? kShareHasToken : 0) | (share.failed ? kShareFailed : 0) |
                      (candidates ? kShareHasCandidates : 0) | (drafts ? kShareDrafts : 0));
    if (has_token) put_signed(outputs_, share.token);
    if (share.failed) put(outputs_, static_cast<uint64_t>(share.error.code));
    put(outputs_, share.prompt_logprobs.size());
    if (candidates) put_candidates(outputs_, share.logprobs->top);
    if (!drafts) continue;
    put(outputs_, share.further.size());
    for (const flow::FurtherToken& next : share.further) put_signed(outputs_, next.token);
    put(outputs_, share.n_proposed);
  }
}

void EventLog::end_step(bool keep) {
  if (!keep || cut_) return;
  record_.clear();
  record_.push_back(static_cast<char>(EventRecord::kStep));
  put_signed(record_, now_);
  put(record_, n_messages_);
  record_ += messages_;
  put(record_, planned_ ? 1 : 0);
  if (planned_) put_fixed(record_, state_hash_);
  put(record_, n_outputs_);
  record_ += outputs_;
  put(record_, n_answers_);
  record_ += answers_;
  write(record_);
}

}  // namespace millrace::engine
