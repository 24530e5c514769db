#include "engine/event_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/macros.h"
#include "cache/block_pool.h"
#include "engine/sessions.h"

namespace millrace::engine {
namespace {

constexpr uint64_t kMaxHeaderBytes = 1 << 20;
constexpr uint64_t kMaxShares = 1 << 20;  // of a step
constexpr uint64_t kMaxForks = 1 << 16;
constexpr uint64_t kMaxLogprobs = 1 << 24;    // prompt logprobs of one share
constexpr uint64_t kMaxText = 1 << 20;        // bytes of a salt
constexpr uint64_t kMaxCandidates = 1 << 16;  // of a beam
constexpr uint64_t kLastErrorCode = static_cast<uint64_t>(ErrorCode::kIo);

std::string name_of(uint64_t checksum) { return checksum == 0 ? "" : fmt::format("{:x}", checksum); }

}  // namespace

Error EventReader::bad(std::string_view what) const {
  return {ErrorCode::kBadFile, fmt::format("event log, byte {}: {}", reader_.offset(), what), ""};
}

Result<uint64_t> EventReader::number(uint64_t most) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    auto byte = reader_.read<uint8_t>();
    if (!byte) return bad("it ends inside a number");
    value |= uint64_t{*byte & 0x7fu} << shift;
    if (*byte < 0x80) {
      if (value > most) return bad(fmt::format("{}: want at most {}", value, most));
      return value;
    }
  }
  return bad("a number of more than 64 bits");
}

Result<int64_t> EventReader::signed_number() {
  uint64_t value = TRY(number(UINT64_MAX));
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

Result<std::vector<TokenId>> EventReader::tokens() {
  uint64_t n = TRY(number(reader_.left()));  // a token takes a byte at least
  std::vector<TokenId> out(n);
  for (TokenId& token : out) {
    int64_t value = TRY(signed_number());
    if (value < INT32_MIN || value > INT32_MAX) return bad("a token id of more than 32 bits");
    token = static_cast<TokenId>(value);
  }
  return out;
}

Result<flow::GenerateRequest> EventReader::request(flow::RequestId id) {
  flow::GenerateRequest r;
  r.id = id;
  r.tenant = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  r.scope = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  int64_t band = TRY(signed_number());
  if (band < INT16_MIN || band > INT16_MAX) return bad("a band of more than 16 bits");
  r.band = static_cast<int16_t>(band);
  r.arrival = TRY(signed_number());
  r.deadline = TRY(signed_number());
  r.weight = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  r.ttft_slo = TRY(signed_number());
  r.itl_slo = TRY(signed_number());
  r.n = static_cast<uint32_t>(TRY(number(kMaxForks)));
  r.use_prefix_cache = TRY(number(1)) == 1;
  r.retention = static_cast<uint8_t>(TRY(number(cache::kPriorities - 1)));
  r.session_ttl = TRY(signed_number());
  r.window_tokens = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  r.sink_tokens = static_cast<uint32_t>(TRY(number(flow::kMaxSinkTokens)));
  r.session = name_of(TRY(number(UINT64_MAX)));
  r.cache_salt = TRY(text());
  r.beam_width = static_cast<uint32_t>(TRY(number(flow::kMaxBeams)));
  r.length_penalty = std::bit_cast<float>(static_cast<uint32_t>(TRY(number(UINT32_MAX))));
  r.beam_stop = static_cast<flow::BeamStop>(TRY(number(static_cast<uint64_t>(flow::BeamStop::kNever))));
  if (!std::isfinite(r.length_penalty)) return bad("a length penalty that is no number");
  flow::SamplingParams& s = r.sampling;
  s.seed = TRY(number(UINT64_MAX));
  s.max_tokens = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  s.min_tokens = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  s.ignore_eos = TRY(number(1)) == 1;
  int64_t n_logprobs = TRY(signed_number());
  int64_t n_prompt_logprobs = TRY(signed_number());
  bool sane = r.n > 0 && n_logprobs >= -1 && n_logprobs <= INT32_MAX && n_prompt_logprobs >= -1 &&
              n_prompt_logprobs <= INT32_MAX;
  if (!sane) return bad("a request with n = 0 or a strange number of logprobs");
  s.n_logprobs = static_cast<int32_t>(n_logprobs);
  s.n_prompt_logprobs = static_cast<int32_t>(n_prompt_logprobs);
  s.pooling = static_cast<flow::Pooling>(TRY(number(static_cast<uint64_t>(flow::Pooling::kTokens))));
  s.stop_token_ids = TRY(tokens());
  s.eos_token_ids = TRY(tokens());
  r.prompt = TRY(tokens());
  return r;
}

Result<std::string> EventReader::text() {
  auto bytes = reader_.take(TRY(number(kMaxText)));
  if (!bytes) return bad("it ends inside a text");
  return std::string(as_text(*bytes));
}

Result<std::shared_ptr<SessionTask>> EventReader::session() {
  auto task = std::make_shared<SessionTask>();
  task->verb = static_cast<SessionVerb>(TRY(number(static_cast<uint64_t>(SessionVerb::kErase))));
  task->name = name_of(TRY(number(UINT64_MAX)));
  task->scope = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  task->max_bytes = TRY(number(UINT64_MAX));
  task->copy.cache_salt = TRY(text());
  task->copy.tokens = TRY(tokens());
  uint64_t n_blocks = TRY(number(task->copy.tokens.size() / setup_.options.kv.block_tokens));
  for (uint64_t i = 0; i < n_blocks; ++i) {
    task->copy.blocks.push_back({.kv_groups = static_cast<uint32_t>(TRY(number(UINT32_MAX))), .bytes = {}});
  }
  task->done = [](const Result<void>&) {};
  return task;
}

Result<std::unique_ptr<flow::PositionLogprobs>> EventReader::candidates() {
  auto out = std::make_unique<flow::PositionLogprobs>();
  for (uint64_t n = TRY(number(kMaxCandidates)); n > 0; --n) {
    flow::TokenLogprob& one = out->top.emplace_back();
    one.token = static_cast<TokenId>(TRY(signed_number()));
    one.logprob = std::bit_cast<float>(static_cast<uint32_t>(TRY(number(UINT32_MAX))));
    if (std::isnan(one.logprob)) return bad("a log probability that is no number");
  }
  return out;
}

Result<RecordedAnswer> EventReader::answer() {
  RecordedAnswer out;
  uint64_t kind = TRY(number(static_cast<uint64_t>(TierAnswer::kNumber)));
  if (kind == 0) return bad("an answer of a tier of no kind");
  out.kind = static_cast<TierAnswer>(kind);
  if (out.kind == TierAnswer::kNumber) {
    out.number = TRY(number(UINT64_MAX));
    return out;
  }
  for (uint64_t n = TRY(number(reader_.left())); n > 0; --n) {
    flow::TierEvent& event = out.events.emplace_back();
    event.kind = static_cast<flow::TierEventKind>(TRY(number(static_cast<uint64_t>(flow::TierEventKind::kLoaded))));
    auto name = reader_.take(event.name.size());
    if (!name) return bad("it ends inside a name");
    std::ranges::copy(*name, event.name.begin());
    event.kv_groups = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
    event.load = TRY(number(UINT64_MAX));
    event.n_blocks = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  }
  return out;
}

Result<Message> EventReader::message() {
  Message out;
  out.kind = static_cast<MessageKind>(TRY(number(static_cast<uint64_t>(MessageKind::kSession))));
  out.id = TRY(number(UINT64_MAX));
  out.fork = static_cast<uint32_t>(TRY(number(UINT32_MAX)));
  if (out.kind == MessageKind::kSubmit) {
    if (out.id == 0) return bad("a request with id 0");
    out.request = TRY(request(out.id));
  }
  if (out.kind == MessageKind::kSession) out.session = TRY(session());
  return out;
}

Result<RecordedOutput> EventReader::output() {
  RecordedOutput out;
  out.output.step = TRY(number(UINT64_MAX));
  out.now = TRY(signed_number());
  out.output.took = TRY(signed_number());
  out.output.ok = TRY(number(1)) == 1;
  out.output.error.code = static_cast<ErrorCode>(TRY(number(kLastErrorCode)));
  uint64_t n_shares = TRY(number(kMaxShares));
  for (uint64_t i = 0; i < n_shares; ++i) {
    flow::ShareResult& share = out.output.shares.emplace_back();
    uint64_t flags = TRY(number(kShareHasToken | kShareFailed | kShareHasCandidates | kShareDrafts));
    share.failed = (flags & kShareFailed) != 0;
    if ((flags & kShareHasToken) != 0) share.token = static_cast<TokenId>(TRY(signed_number()));
    if (share.failed) share.error.code = static_cast<ErrorCode>(TRY(number(kLastErrorCode)));
    uint64_t n_logprobs = TRY(number(kMaxLogprobs));
    if (n_logprobs > 0) share.prompt_logprobs.resize(n_logprobs);
    if ((flags & kShareHasCandidates) != 0) share.logprobs = TRY(candidates());
    if ((flags & kShareDrafts) == 0) continue;
    share.further.resize(TRY(number(UINT16_MAX)));
    for (flow::FurtherToken& next : share.further) next.token = static_cast<TokenId>(TRY(signed_number()));
    share.n_proposed = static_cast<uint16_t>(TRY(number(UINT16_MAX)));
  }
  return out;
}

Result<EventReader> EventReader::open(std::span<const uint8_t> bytes) {
  EventReader out(bytes);
  auto magic = out.reader_.take(kEventLogMagic.size());
  auto version = out.reader_.read<uint8_t>();
  if (!magic || as_text(*magic) != kEventLogMagic || !version) return out.bad("this is no event log");
  if (*version != kEventLogVersion) {
    return out.bad(fmt::format("version {} of the format: want {}", *version, kEventLogVersion));
  }
  uint64_t length = TRY(out.number(kMaxHeaderBytes));
  auto header = out.reader_.take(length);
  if (!header) return out.bad("it ends inside the header");
  Json json = TRY(parse_json(as_text(*header)));
  out.setup_ = TRY(setup_from_json(json));
  return out;
}

Result<std::optional<RecordedStep>> EventReader::next() {
  std::optional<RecordedStep> none;
  auto kind = ended_ ? std::nullopt : reader_.read<uint8_t>();
  if (!kind || *kind == static_cast<uint8_t>(EventRecord::kCut)) {
    ended_ = true;
    return none;
  }
  if (*kind == static_cast<uint8_t>(EventRecord::kEnd)) {
    ended_ = complete_ = true;
    return none;
  }
  if (*kind != static_cast<uint8_t>(EventRecord::kStep)) return bad(fmt::format("a record of kind {}", *kind));
  RecordedStep step;
  step.now = TRY(signed_number());
  for (uint64_t n = TRY(number(UINT64_MAX)); n > 0; --n) step.messages.push_back(TRY(message()));
  if (TRY(number(1)) == 1) {
    step.state_hash = reader_.read<uint64_t>();
    if (!step.state_hash) return bad("it ends inside a hash");
  }
  for (uint64_t n = TRY(number(kMaxShares)); n > 0; --n) step.outputs.push_back(TRY(output()));
  for (uint64_t n = TRY(number(reader_.left())); n > 0; --n) step.answers.push_back(TRY(answer()));
  return std::optional(std::move(step));
}

}  // namespace millrace::engine
