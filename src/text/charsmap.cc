// Charsmap reader and its use, grapheme by grapheme.
#include "text/charsmap.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/byte_reader.h"
#include "base/macros.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

// Fields of a darts-clone unit.
bool has_leaf(uint32_t unit) { return ((unit >> 8) & 1u) != 0; }
uint32_t leaf_value(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

constexpr size_t kWholeGraphemeBytes = 6;  // spm_precompiled looks up shorter graphemes in one piece

}  // namespace

Result<Charsmap> Charsmap::parse(std::string_view blob) {
  ByteReader reader(as_bytes(blob));
  const auto trie_bytes = reader.read<uint32_t>();
  if (!trie_bytes || *trie_bytes > reader.left() || *trie_bytes % 4 != 0) {
    return Error{ErrorCode::kBadFile,
                 fmt::format("precompiled_charsmap: trie of {} bytes in a table of {} bytes", trie_bytes.value_or(0),
                             blob.size()),
                 ""};
  }
  Charsmap out;
  out.units_.resize(*trie_bytes / 4);
  for (uint32_t& unit : out.units_) unit = reader.read<uint32_t>().value_or(0);
  out.strings_ = as_text(*reader.take(reader.left()));
  return out;
}

std::optional<std::string_view> Charsmap::lookup(std::string_view chunk) const {
  if (units_.empty()) return std::nullopt;
  size_t node = offset_of(units_[0]);
  for (const char byte : chunk) {
    const auto label = static_cast<uint8_t>(byte);
    if (label == 0) return std::nullopt;
    node ^= label;
    if (node >= units_.size() || label_of(units_[node]) != label) return std::nullopt;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) return std::nullopt;
    const size_t begin = leaf_value(units_[node]);
    if (begin >= strings_.size()) return std::nullopt;
    const size_t end = std::min(strings_.find('\0', begin), strings_.size());
    return std::string_view(strings_).substr(begin, end - begin);
  }
  return std::nullopt;
}

void Charsmap::apply(std::string_view text, std::string& out) const {
  const auto flush = [&](std::string_view grapheme) {
    if (grapheme.empty()) return;
    if (grapheme.size() < kWholeGraphemeBytes) {
      if (const auto whole = lookup(grapheme)) {
        out += *whole;
        return;
      }
    }
    for (size_t at = 0; at < grapheme.size();) {
      const auto piece = grapheme.substr(at, rune_at(grapheme, at).n_bytes);
      out += lookup(piece).value_or(piece);
      at += piece.size();
    }
  };
  size_t begin = 0;
  utf8proc_int32_t previous = -1;
  utf8proc_int32_t state = 0;
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    const auto code = static_cast<utf8proc_int32_t>(rune.code);
    if (previous >= 0 && utf8proc_grapheme_break_stateful(previous, code, &state)) {
      flush(text.substr(begin, at - begin));
      begin = at;
    }
    previous = code;
    at += rune.n_bytes;
  }
  flush(text.substr(begin));
}

}  // namespace millrace::text
