// KV events as MessagePack, in the two schemas that readers know: maps with a "type" (vLLM 0.32, SGLang, Dynamo), and
// positional arrays (llm-d before June 2026). The pool is called GPU on every machine: routers weigh that name. The
// disk is called STORAGE.
#include "server/kv_publisher.h"
#include "server/msgpack.h"

namespace millrace::server {
namespace {

std::string_view medium_of(const flow::KvEvent& event) {
  return event.medium == flow::KvMedium::kDisk ? "STORAGE" : "GPU";
}

void pack_names(std::string& out, const flow::KvEvent& event) {
  pack_array(out, static_cast<uint32_t>(event.names.size()));
  for (uint64_t name : event.names) pack_uint(out, name);
}

void pack_parent(std::string& out, const flow::KvEvent& event) {
  event.parent ? pack_uint(out, *event.parent) : pack_nil(out);
}

void pack_tokens(std::string& out, const flow::KvEvent& event) {
  pack_array(out, static_cast<uint32_t>(event.tokens.size()));
  for (TokenId token : event.tokens) pack_uint(out, static_cast<uint64_t>(token));
}

// Per block: what besides the tokens makes its content.
void pack_extra_keys(std::string& out, const flow::KvEvent& event) {
  if (event.cache_salt.empty()) return pack_nil(out);
  pack_array(out, static_cast<uint32_t>(event.names.size()));
  for (size_t i = 0; i < event.names.size(); ++i) {
    pack_array(out, 1);
    pack_text(out, event.cache_salt);
  }
}

std::string_view kind_of(const flow::KvEvent& event) {
  return event.window_tokens > 0 ? "sliding_window" : "full_attention";
}

uint64_t block_size(const flow::KvEvent& event) { return event.tokens.size() / event.names.size(); }

void pack_stored_map(std::string& out, const flow::KvEvent& event) {
  pack_map(out, 10 + (event.cache_salt.empty() ? 0u : 1u) + (event.window_tokens > 0 ? 1u : 0u));
  pack_text(out, "type"), pack_text(out, "BlockStored");
  pack_text(out, "block_hashes"), pack_names(out, event);
  pack_text(out, "parent_block_hash"), pack_parent(out, event);
  pack_text(out, "token_ids"), pack_tokens(out, event);
  pack_text(out, "block_size"), pack_uint(out, block_size(event));
  pack_text(out, "lora_id"), pack_nil(out);
  pack_text(out, "medium"), pack_text(out, medium_of(event));
  pack_text(out, "lora_name"), pack_nil(out);
  pack_text(out, "group_idx"), pack_uint(out, event.kv_group);
  pack_text(out, "kv_cache_spec_kind"), pack_text(out, kind_of(event));
  if (!event.cache_salt.empty()) pack_text(out, "extra_keys"), pack_extra_keys(out, event);
  if (event.window_tokens > 0) pack_text(out, "kv_cache_spec_sliding_window"), pack_uint(out, event.window_tokens);
}

void pack_stored_array(std::string& out, const flow::KvEvent& event) {
  pack_array(out, 12);
  pack_text(out, "BlockStored");
  pack_names(out, event);
  pack_parent(out, event);
  pack_tokens(out, event);
  pack_uint(out, block_size(event));
  pack_nil(out);  // lora_id
  pack_text(out, medium_of(event));
  pack_nil(out);  // lora_name
  pack_extra_keys(out, event);
  pack_uint(out, event.kv_group);
  pack_text(out, kind_of(event));
  event.window_tokens > 0 ? pack_uint(out, event.window_tokens) : pack_nil(out);
}

void pack_removed(std::string& out, const flow::KvEvent& event, bool as_map) {
  if (as_map) {
    pack_map(out, 4);
    pack_text(out, "type"), pack_text(out, "BlockRemoved");
    pack_text(out, "block_hashes"), pack_names(out, event);
    pack_text(out, "medium"), pack_text(out, medium_of(event));
    pack_text(out, "group_idx"), pack_uint(out, event.kv_group);
  } else {
    pack_array(out, 4);
    pack_text(out, "BlockRemoved");
    pack_names(out, event);
    pack_text(out, medium_of(event));
    pack_uint(out, event.kv_group);
  }
}

void pack_cleared(std::string& out, bool as_map) {
  if (as_map) {
    pack_map(out, 1);
    pack_text(out, "type");
  } else {
    pack_array(out, 1);
  }
  pack_text(out, "AllBlocksCleared");
}

}  // namespace

std::string encode_kv_events(std::span<const flow::KvEvent> events, double now_s, bool as_maps) {
  std::string out;
  pack_array(out, 3);
  pack_float(out, now_s);
  pack_array(out, static_cast<uint32_t>(events.size()));
  for (const flow::KvEvent& event : events) {
    switch (event.kind) {
      case flow::KvEventKind::kStored:
        as_maps ? pack_stored_map(out, event) : pack_stored_array(out, event);
        break;
      case flow::KvEventKind::kRemoved:
        pack_removed(out, event, as_maps);
        break;
      case flow::KvEventKind::kCleared:
        pack_cleared(out, as_maps);
        break;
    }
  }
  pack_uint(out, 0);  // rank
  return out;
}

}  // namespace millrace::server
