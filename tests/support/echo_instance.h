// An Instance without a model: the real session, engine and text code over an EchoBackend and a vocabulary of one token
// per byte plus <end>, <user> and <bot>. Chat turns are rendered as <user>content<end>...<bot>.
// Thread: any.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/macros.h"
#include "instance/instance.h"
#include "runtime/own_thread.h"
#include "tests/support/echo_backend.h"
#include "text/byte_alphabet.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace millrace::testing {

constexpr TokenId kByteTokens = 256;
constexpr TokenId kEndToken = 256;
constexpr TokenId kUserToken = 257;
constexpr TokenId kBotToken = 258;

inline text::TokenizerSpec byte_tokenizer_spec() {
  text::TokenizerSpec spec;
  spec.kind = text::TokenizerKind::kByteBpe;
  for (int byte = 0; byte < kByteTokens; ++byte) {
    char c = static_cast<char>(byte);
    spec.tokens.push_back(text::to_byte_alphabet({&c, 1}));
    spec.types.push_back(text::TokenType::kNormal);
  }
  for (const char* name : {"<end>", "<user>", "<bot>"}) {
    auto id = static_cast<TokenId>(spec.tokens.size());
    spec.tokens.emplace_back(name);
    spec.types.push_back(text::TokenType::kControl);
    text::AddedToken added;
    added.content = name;
    added.id = id;
    added.special = true;
    spec.added.push_back(std::move(added));
  }
  text::PreTokenizerStep split;
  split.kind = text::PreTokenizerKind::kByteLevel;
  split.use_regex = true;
  spec.pre_tokenizers.push_back(split);
  text::DecoderStep decoder;
  decoder.kind = text::DecoderKind::kByteLevel;
  spec.decoders.push_back(decoder);
  spec.eos = kEndToken;
  spec.eog = {kEndToken};
  return spec;
}

struct EchoOptions {
  uint32_t max_len = 2048;  // tokens
  uint32_t n_blocks = 256;  // of 32 tokens
  uint32_t max_queued_requests = 512;
  uint32_t max_live = 64;
  bool chat = true;
  std::string tags;  // texts that the chat template holds in a comment: what parsers are chosen by
  sched::OrderKind order = sched::OrderKind::kFcfs;
  uint32_t depth = 1;          // 2: steps are computed on a thread of their own
  std::string session_folder;  // for saved conversations; empty: none
  std::vector<instance::TenantRule> tenants;
  std::shared_ptr<instance::TenantTable> tenant_table;
  std::function<void(std::span<flow::KvEvent>)> on_kv_events;
  std::optional<text::TokenizerSpec> vocabulary;  // with an end token; none: one token per byte
  api::PoolingFacts pooling = {.d_model = 4};
  std::vector<std::string> served_names = {"echo", "echo-alias"};
  uint64_t weight_bytes = 1000;
  std::shared_ptr<void> holds;  // let go when the instance has gone
  std::function<void()> on_engine_thread = {};
  Limits limits;
};

struct EchoInstance {
  std::unique_ptr<instance::Instance> instance;
  std::shared_ptr<EchoSwitches> switches;
};

inline void fill_echo_facts(const EchoOptions& options, int64_t n_vocab, instance::InstanceFacts& facts) {
  facts.served_names = options.served_names;
  facts.root = "echo-root";
  facts.isa = "none";
  facts.system_fingerprint = "fp_echo";
  facts.vocab_type = "bytes";
  facts.n_vocab = n_vocab;
  facts.max_len = options.max_len;
  facts.n_ctx_train = options.max_len;
  facts.d_model = 8;
  facts.n_params = 1234;
  facts.file_bytes = 5678;
  facts.weight_bytes = options.weight_bytes;
  facts.kv_bytes = 2000;
  facts.scratch_bytes = 3000;
}

inline std::optional<text::ChatTemplate> echo_template(const EchoOptions& options) {
  if (!options.chat) return std::nullopt;
  auto parsed = text::ChatTemplate::parse(
      (options.tags.empty() ? "" : "{# tools " + options.tags + " #}") +
          "{% for m in messages %}{{ '<user>' if m['role'] == 'user' else '' }}{{ m['content'] }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<bot>' }}{% endif %}",
      options.limits);
  CHECK(parsed.ok());
  return std::move(parsed).value();
}

inline EchoInstance make_echo(EchoOptions options = {}) {
  EchoInstance out;
  out.switches = std::make_shared<EchoSwitches>();
  auto tokenizer = text::Tokenizer::create(options.vocabulary ? *options.vocabulary : byte_tokenizer_spec());
  CHECK(tokenizer.ok());
  const TokenId end_token = tokenizer->eos();
  const auto n_vocab = static_cast<int64_t>(tokenizer->n_vocab());
  auto backend = std::make_unique<EchoBackend>(end_token, out.switches);
  instance::InstanceParts parts{
      .facts = {},
      .text = {.tokenizer = std::move(tokenizer).value(),
               .chat_template = echo_template(options),
               .defaults = {},
               .eos_token_ids = {end_token},
               .max_len = options.max_len,
               .block_tokens = 32,
               .n_blocks = options.n_blocks,
               .pooling = options.pooling,
               .limits = options.limits},
      .engine = {},
      .holds = options.holds,
      .backend = std::move(backend),
      .on_engine_thread = options.on_engine_thread,
      .heartbeat = {},
  };
  parts.tenants = options.tenants;
  parts.tenant_table = options.tenant_table;
  fill_echo_facts(options, n_vocab, parts.facts);
  parts.engine.kv.block_tokens = 32;
  parts.engine.kv.n_blocks = options.n_blocks;
  parts.engine.kv.block_bytes = 32;
  parts.engine.kv.max_len = options.max_len;
  flow::KvGroup group;
  group.layers = {0};
  parts.engine.kv.groups = {group};
  parts.engine.sched.max_live = options.max_live;
  parts.engine.max_queued_requests = options.max_queued_requests;
  parts.engine.sched.depth = options.depth;
  parts.engine.sched.order = options.order;
  parts.engine.on_kv_events = options.on_kv_events;
  runtime::OwnThread* aside = nullptr;
  if (options.depth > 1) {
    std::shared_ptr<flow::Backend> inner = std::move(parts.backend);
    auto own = std::make_unique<runtime::OwnThread>(*inner);
    aside = own.get();
    parts.holds = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(inner, options.holds);
    parts.backend = std::move(own);
  }
  if (!options.session_folder.empty()) {
    auto bytes = std::make_shared<std::vector<uint8_t>>(size_t{options.n_blocks} * parts.engine.kv.block_bytes);
    parts.engine.block_bytes = [bytes, n = parts.engine.kv.block_bytes](flow::BlockId id) {
      return std::span<uint8_t>(*bytes).subspan(id * n, n);
    };
    parts.session_folder = options.session_folder;
    parts.text.names_slots = true;
  }
  auto made = instance::Instance::make(std::move(parts));
  CHECK(made.ok(), "{}", made.error().message);
  out.instance = std::move(made).value();
  if (aside != nullptr) aside->set_on_done([engine = &out.instance->engine()] { engine->wake(); });
  return out;
}

}  // namespace millrace::testing
