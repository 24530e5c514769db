// Objects of a schema: named properties in their order, then additional ones.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/macros.h"
#include "grammar/characters.h"
#include "grammar/regex.h"
#include "grammar/regex_match.h"
#include "grammar/schema_builder.h"

namespace millrace::grammar {
namespace {

constexpr uint64_t kMaxCountRules = 4096;  // of minProperties and maxProperties: properties times counts
constexpr size_t kMostInSequence = 64;  // members of one rule: for each value that stands once the core copies the rest
constexpr size_t kMostInOrder = 128;    // optional properties that keep their order: each follows any of those before

// The literal characters that a pattern begins with, when it is anchored.
std::string_view anchored_text(std::string_view pattern) {
  if (!pattern.starts_with('^')) return {};
  pattern.remove_prefix(1);
  size_t n = pattern.find_first_of("\\[](){}.*+?^$|");
  if (n != std::string_view::npos && (n == 0 || pattern.find('|') != std::string_view::npos)) return {};
  if (n != std::string_view::npos && std::string_view("*+?{").find(pattern[n]) != std::string_view::npos) --n;
  return pattern.substr(0, n);
}

bool beginnings_differ(std::string_view a, std::string_view b) {
  size_t n = std::min(a.size(), b.size());
  return a.substr(0, n) != b.substr(0, n);
}

}  // namespace

Result<bool> SchemaBuilder::name_allowed(const ObjectShape& object, const std::string& name) {
  if (object.names.empty()) return true;
  Json as_value(name);
  for (Shape shape : TRY(reader_.shapes(object.names))) {
    if (shape.values && std::ranges::none_of(*shape.values, [&](const Json* one) { return *one == as_value; }))
      continue;
    if (TRY(has_shape(shape, as_value))) return true;
  }
  return false;
}

Result<void> SchemaBuilder::add_entries(const ObjectShape& object, const std::string& pointer, Members& members) {
  std::map<RuleId, ExprId> values;  // by the rule of what stands behind the colon
  auto value_of = [&](ExprId what) {
    auto [value, is_new] = values.try_emplace(rules_.at(what).rule, 0);
    if (is_new) value->second = rules_.sequence({json_.space(), what});
    return value->second;
  };
  auto add = [&](const std::string& name, Nodes nodes, bool required) -> Result<void> {
    for (const auto& [pattern, more] : object.patterns) {
      Result<bool> matched = matches_pattern(pattern, name);
      if (!matched.ok()) return schema_error(pointer_to(pointer, "patternProperties"), matched.error().message);
      if (*matched) nodes.insert(nodes.end(), more.begin(), more.end());
    }
    bool allowed = TRY(name_allowed(object, name));
    if (!allowed && !required) return {};
    std::string key;
    append_json_string(key, name);
    key += ':';
    ExprId value = allowed ? value_of(rule_for(nodes)) : rules_.set({});
    ExprId pair = rules_.sequence({rules_.text(key), value});
    members.entries.push_back({.pair = pair, .key = std::move(key), .value = value, .required = required});
    return {};
  };
  std::unordered_set<std::string_view> required(object.required.begin(), object.required.end());
  std::unordered_set<std::string_view> named;
  for (const auto& [name, nodes] : object.properties) {
    named.insert(name);
    if (!required.contains(name) && is_false(nodes)) continue;
    TRY(add(name, nodes, required.contains(name)));
  }
  for (const std::string& name : object.required) {
    if (named.contains(name)) continue;
    bool of_pattern = false;
    for (const auto& row : object.patterns) {
      Result<bool> matched = matches_pattern(row.first, name);
      of_pattern |= matched.ok() && *matched;
    }
    TRY(add(name, object.has_additional && !of_pattern ? object.additional : Nodes{}, true));
  }
  return {};
}

Result<void> SchemaBuilder::add_extra(const ObjectShape& object, const std::string& pointer, Members& members) {
  auto entry = [&](ExprId key, const Nodes& nodes) {
    return rules_.sequence({rules_.text("\""), key, rules_.text("\":"), json_.space(), rule_for(nodes)});
  };
  std::vector<ExprId> parts;
  for (size_t i = 0; i < object.patterns.size(); ++i) {
    const std::string& pattern = object.patterns[i].first;
    std::string at = pointer_to(pointer, "patternProperties");
    // a name may match several patterns or be one of those listed: what is generated satisfies all of them
    Nodes nodes = object.patterns[i].second;
    auto also = [&](const Nodes& more) {
      for (const Node& node : more) {
        if (std::ranges::none_of(nodes, [&](const Node& have) { return have.id() == node.id(); }))
          nodes.push_back(node);
      }
    };
    for (size_t k = 0; k < object.patterns.size(); ++k) {
      if (k == i) continue;
      if (!beginnings_differ(anchored_text(pattern), anchored_text(object.patterns[k].first))) {
        also(object.patterns[k].second);
      }
    }
    for (const auto& [name, more] : object.properties) {
      Result<bool> matched = matches_pattern(pattern, name);
      if (!matched.ok()) return schema_error(at, matched.error().message);
      if (*matched) also(more);
    }
    if (is_false(nodes) || !object.names.empty()) continue;
    StringBounds any;
    ExprId key = TRY(pattern_expr(any, pattern, at));
    parts.push_back(entry(key, nodes));
  }
  bool wanted = object.has_additional ? !is_false(object.additional) : !object.names_some();
  if (wanted && object.patterns.empty()) {
    if (object.names.empty()) {
      std::vector<std::string> names = object.required;
      for (const auto& row : object.properties) names.push_back(row.first);
      std::ranges::sort(names);
      names.erase(std::unique(names.begin(), names.end()), names.end());
      parts.push_back(entry(other_names(names), object.additional));
    } else if (object.properties.empty() && object.required.empty()) {
      for (const Shape& shape : TRY(reader_.shapes(object.names))) {
        if ((shape.types & kString) == 0) continue;
        ExprId key = shape.values ? TRY(values_expr(shape)) : TRY(string_expr(shape.string, shape.pointer));
        parts.push_back(rules_.sequence({key, rules_.text(":"), json_.space(), rule_for(object.additional)}));
      }
    }
  }
  members.open = !parts.empty();
  if (members.open) members.extra = rules_.choice(std::move(parts));
  return {};
}

Result<SchemaBuilder::Members> SchemaBuilder::members_of(const ObjectShape& object, const std::string& pointer) {
  Members members;
  members.min = object.min_properties;
  members.max = object.max_properties;
  TRY(add_entries(object, pointer, members));
  TRY(add_extra(object, pointer, members));
  return members;
}

// min..max further entries, each behind a comma.
ExprId SchemaBuilder::extras_behind(const Members& members, uint32_t min, uint32_t max) {
  if (!members.open || max == 0) return min == 0 ? rules_.text("") : rules_.set({});
  return rules_.repeat(rules_.sequence({rules_.text(","), json_.space(), members.extra}), min, max);
}

// What stands between the braces when no count matters. Up to the first required property two rules per property: for
// when nothing stands before it, and for when something does.
ExprId SchemaBuilder::plain_members(const Members& members) {
  const std::vector<Entry>& entries = members.entries;
  ExprId comma = rules_.sequence({rules_.text(","), json_.space()});
  auto behind = [&](const Entry& entry) {
    ExprId part = rules_.sequence({comma, entry.pair});
    return entry.required ? part : rules_.optional(part);
  };
  size_t first_required = entries.size();
  for (size_t i = entries.size(); i-- > 0;) {
    if (entries[i].required) first_required = i;
  }
  std::vector<ExprId> last{extras_behind(members, 0, kUnbounded)};  // from behind
  auto last_rule = [&] {
    std::ranges::reverse(last);
    return rules_.rule(rules_.add_rule(rules_.sequence(std::exchange(last, {}))));
  };
  for (size_t i = entries.size(); i-- > first_required + 1;) {
    last.push_back(behind(entries[i]));
    if (last.size() > kMostInSequence) last.push_back(last_rule());
  }
  ExprId rest = last_rule();  // behind entry i, something stands
  ExprId first;               // from entry i on, nothing stands yet
  if (first_required < entries.size()) {
    first = rules_.sequence({entries[first_required].pair, rest});
    rest = rules_.rule(rules_.add_rule(rules_.sequence({behind(entries[first_required]), rest})));
  } else {
    first = members.open ? rules_.optional(rules_.sequence({members.extra, rest})) : rules_.text("");
  }
  for (size_t i = first_required; i-- > 0;) {
    ExprId with = rules_.sequence({entries[i].pair, rest});
    first = rules_.rule(rules_.add_rule(rules_.choice({with, first})));
    rest = rules_.rule(rules_.add_rule(rules_.sequence({behind(entries[i]), rest})));
  }
  return first;
}

// Of many optional properties: the required ones in their order, then the others in any order, as a trie of their
// names. In order, each of them would be possible behind each of those before, at the price of as many states.
ExprId SchemaBuilder::wide_members(const Members& members) {
  std::vector<const Entry*> optional;
  std::vector<ExprId> parts;
  ExprId comma = rules_.sequence({rules_.text(","), json_.space()});
  for (const Entry& entry : members.entries) {
    if (entry.required) {
      parts.push_back(parts.empty() ? entry.pair : rules_.sequence({comma, entry.pair}));
    } else {
      optional.push_back(&entry);
    }
  }
  ExprId any = rules_.rule(rules_.add_rule(one_of(optional)));
  if (members.open) any = rules_.choice({any, members.extra});
  ExprId more = rules_.repeat(rules_.sequence({comma, any}), 0, kUnbounded);
  if (parts.empty()) return rules_.optional(rules_.sequence({any, more}));
  parts.push_back(more);
  return rules_.sequence(std::move(parts));
}

// One rule per property and number of properties before it.
Result<ExprId> SchemaBuilder::counted_members(const Members& members, const std::string& pointer) {
  uint64_t n = members.entries.size();
  uint64_t top = std::min(members.max, n + 1);  // counts beyond make no difference
  if (members.min > n + (members.open ? 1 : 0)) {
    // additional names may repeat each other, so only one of them counts for certain
    if (members.open)
      return schema_error(pointer, "minProperties beyond the named properties and one is not supported");
    return rules_.set({});
  }
  if ((n + 1) * (top + 1) > kMaxCountRules) {
    return schema_error(pointer, fmt::format("minProperties or maxProperties of {} properties is not supported", n));
  }
  ExprId comma = rules_.sequence({rules_.text(","), json_.space()});
  std::vector<ExprId> next(top + 2);  // from property i + 1 on, by count before
  for (uint64_t i = n + 1; i-- > 0;) {
    std::vector<ExprId> here(top + 2);
    for (uint64_t count = 0; count <= std::min(i, top); ++count) {
      std::vector<ExprId> parts;
      if (i == n) {
        uint64_t room = members.max == UINT64_MAX ? kUnbounded : std::min<uint64_t>(members.max - count, 1u << 20);
        auto max = static_cast<uint32_t>(room);
        uint32_t min = count >= members.min ? 0 : 1;
        if (count + min < members.min) {
          parts.push_back(rules_.set({}));
        } else if (count > 0) {
          parts.push_back(extras_behind(members, min, max));
        } else {
          if (min == 0) parts.push_back(rules_.text(""));
          if (members.open && max > 0) {
            ExprId more = extras_behind(members, 0, max == kUnbounded ? kUnbounded : max - 1);
            parts.push_back(rules_.sequence({members.extra, more}));
          }
          if (parts.empty()) parts.push_back(rules_.set({}));
        }
      } else {
        const Entry& entry = members.entries[i];
        if (!entry.required) parts.push_back(next[count]);
        if (count < members.max) {
          uint64_t after = std::min(count + 1, top);
          ExprId pair = count == 0 ? entry.pair : rules_.sequence({comma, entry.pair});
          parts.push_back(rules_.sequence({pair, next[after]}));
        }
        if (parts.empty()) parts.push_back(rules_.set({}));
      }
      here[count] = rules_.rule(rules_.add_rule(rules_.choice(std::move(parts))));
    }
    next = std::move(here);
  }
  return next[0];
}

Result<ExprId> SchemaBuilder::object_expr(const ObjectShape& object, const std::string& pointer) {
  Members members = TRY(members_of(object, pointer));
  if (members.max < members.min) return rules_.set({});
  uint64_t n_required = 0;
  for (const Entry& entry : members.entries) n_required += entry.required ? 1 : 0;
  bool max_matters = members.max != UINT64_MAX && (members.open || members.max < members.entries.size());
  bool counts = members.min > n_required || max_matters;
  bool wide = members.entries.size() - n_required > kMostInOrder;
  ExprId inside = counts ? TRY(counted_members(members, pointer))
                  : wide ? wide_members(members)
                         : plain_members(members);
  return rules_.sequence({rules_.text("{"), json_.space(), inside, json_.space(), rules_.text("}")});
}

}  // namespace millrace::grammar
