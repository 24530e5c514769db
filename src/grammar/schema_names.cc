// Names of members as tries: one state per beginning that some name has, however many names there are.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "grammar/characters.h"
#include "grammar/schema_builder.h"

namespace millrace::grammar {
namespace {

// Beginnings behind which an additional name may go another way: each costs a mask over the whole vocabulary, some ms.
constexpr size_t kMostBeginnings = 12;

constexpr std::string_view kNameEnd = "\":";

struct Place {
  std::map<uint32_t, size_t> next;  // by character
  size_t name = 0;                  // one that leads through here
  size_t n_bytes = 0;               // of it, up to here
  size_t end = SIZE_MAX;            // the name that ends here
};

// What follows a place has a larger index.
class Trie {
 public:
  void add(std::string_view name, size_t index) {
    size_t at = 0;
    for (size_t i = 0; i < name.size();) {
      Character c = character_at(name, i);
      i += c.n_bytes;
      auto [entry, is_new] = places_[at].next.try_emplace(c.value, places_.size());
      at = entry->second;
      if (is_new) places_.push_back({.next = {}, .name = index, .n_bytes = i});
    }
    places_[at].end = index;
  }
  const std::vector<Place>& places() const { return places_; }

 private:
  std::vector<Place> places_ = std::vector<Place>(1);
};

}  // namespace

// Names without escapes that are none of `names`, as a trie: one rule per beginning that some name has.
ExprId SchemaBuilder::other_names(const std::vector<std::string>& names) {
  const CharSet plain = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, kLastCharacter}};
  ExprId rest = rules_.repeat(rules_.set(plain), 0, kUnbounded);
  auto without = [&](const std::vector<uint32_t>& used) {
    CharSet set;
    for (uint32_t c : used) set.push_back({c, c});
    return rules_.set(intersection(complement(normalised(set)), plain));
  };
  Trie all;
  for (const std::string& name : names) all.add(name, 0);
  const std::vector<Place>& trie = all.places();
  // Only the shorter beginnings: a name that shares a longer one with a listed name is not generated.
  std::map<size_t, size_t> by_depth;
  for (const Place& place : trie) ++by_depth[place.n_bytes];
  size_t deepest = 0;
  size_t n_built = 0;
  for (auto [depth, n] : by_depth) {
    n_built += n;
    if (n_built > kMostBeginnings) break;
    deepest = depth;
  }
  std::vector<ExprId> made(trie.size());
  for (size_t i = trie.size(); i-- > 0;) {
    if (trie[i].n_bytes > deepest) continue;
    std::vector<ExprId> parts;
    std::vector<uint32_t> used;
    if (trie[i].end == SIZE_MAX) parts.push_back(rules_.text(""));
    for (auto [c, next] : trie[i].next) {
      if (!contains(plain, c)) continue;  // written as an escape only
      used.push_back(c);
      if (trie[next].n_bytes > deepest) continue;
      parts.push_back(rules_.sequence({rules_.set({{c, c}}), made[next]}));
    }
    parts.push_back(rules_.sequence({without(used), rest}));
    made[i] = rules_.rule(rules_.add_rule(rules_.choice(std::move(parts))));
  }
  return made[0];
}

// One of the pairs. Their keys end with a quote, so none begins another.
ExprId SchemaBuilder::one_of(const std::vector<const Entry*>& entries) {
  Trie all;
  for (size_t i = 0; i < entries.size(); ++i) all.add(entries[i]->key, i);
  const std::vector<Place>& trie = all.places();
  std::vector<ExprId> made(trie.size());  // of places where names part or end
  std::map<ExprId, size_t> n_of_value;
  for (const Entry* entry : entries) ++n_of_value[entry->value];
  std::map<ExprId, ExprId> tails;  // by value: the end of a name and the value, of those that several names have
  auto tail_of = [&](ExprId value) {
    auto [tail, is_new] = tails.try_emplace(value, 0);
    if (is_new) tail->second = rules_.rule(rules_.add_rule(rules_.sequence({rules_.text(kNameEnd), value})));
    return tail->second;
  };
  // The rest of the text along the only way from a place, and what follows.
  auto way_from = [&](std::string_view key, size_t at, size_t n_bytes) {
    size_t begin = n_bytes;
    while (trie[at].end == SIZE_MAX && trie[at].next.size() == 1) {
      at = trie[at].next.begin()->second;
      n_bytes += character_at(key, n_bytes).n_bytes;
    }
    std::string_view text = key.substr(begin, n_bytes - begin);
    bool shared = trie[at].end != SIZE_MAX && n_of_value[made[at]] > 1 && text.ends_with(kNameEnd);
    if (!shared) return rules_.sequence({rules_.text(text), made[at]});
    text.remove_suffix(kNameEnd.size());
    return rules_.sequence({rules_.text(text), tail_of(made[at])});
  };
  for (size_t i = trie.size(); i-- > 0;) {
    const Place& place = trie[i];
    if (place.end != SIZE_MAX) made[i] = entries[place.end]->value;
    if (place.next.size() < 2) continue;
    std::vector<ExprId> parts;
    for (auto [c, next] : place.next) {
      const std::string& key = entries[trie[next].name]->key;
      size_t begin = trie[i].n_bytes;
      size_t n = character_at(key, begin).n_bytes;
      parts.push_back(rules_.sequence({rules_.text(key.substr(begin, n)), way_from(key, next, begin + n)}));
    }
    made[i] = rules_.rule(rules_.add_rule(rules_.choice(std::move(parts))));
  }
  return way_from(entries[0]->key, 0, 0);
}

}  // namespace millrace::grammar
