#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>

namespace millrace::text::jinja {

void TextBuilder::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!text_.marks.empty() && text_.marks.back().end == begin) {
    text_.marks.back().end = end;
  } else {
    text_.marks.push_back({begin, end});
  }
}

void TextBuilder::append(std::string_view bytes, bool marked) {
  if (full_ || bytes.size() > max_bytes_ - text_.bytes.size()) {
    full_ = true;
    return;
  }
  size_t begin = text_.bytes.size();
  text_.bytes += bytes;
  text_.ascii = text_.ascii && all_ascii(bytes);
  if (marked) mark(begin, text_.bytes.size());
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  size_t base = text_.bytes.size();
  append(std::string_view(text.bytes).substr(begin, end - begin));
  if (full_) return;
  auto at = std::lower_bound(text.marks.begin(), text.marks.end(), begin,
                             [](const ByteRange& range, size_t offset) { return range.end <= offset; });
  for (; at != text.marks.end() && at->begin < end; ++at) {
    mark(base + std::max(at->begin, begin) - begin, base + std::min(at->end, end) - begin);
  }
}

std::optional<int64_t> Value::integer() const {
  if (const auto* at = std::get_if<int64_t>(&data)) return *at;
  if (const auto* at = boolean()) return *at ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const auto* at = real()) return *at;
  if (auto at = integer()) return static_cast<double>(*at);
  return std::nullopt;
}

int depth_of(const Value& value) {
  if (const List* list = value.list()) return list->depth;
  if (const Dict* dict = value.dict()) return dict->depth;
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&value.data)) return (*loop)->items->depth + 1;
  if (const auto* bound = std::get_if<std::shared_ptr<const Bound>>(&value.data)) return depth_of((*bound)->self) + 1;
  return 0;
}

bool truthy(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (auto number = value.number()) return *number != 0;
  if (const Text* text = value.text()) return !text->bytes.empty();
  if (const List* list = value.list()) return !list->items.empty();
  if (const Dict* dict = value.dict()) return !dict->entries.empty();
  return true;
}

bool equals(const Value& a, const Value& b) {
  auto x = a.number();
  auto y = b.number();
  if (x && y) {
    auto i = a.integer();
    auto j = b.integer();
    return i && j ? *i == *j : *x == *y;
  }
  if (a.data.index() != b.data.index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (const Text* text = a.text()) return text->bytes == b.text()->bytes;
  if (const List* list = a.list()) {
    const List* other = b.list();
    return list->tuple == other->tuple &&
           std::equal(list->items.begin(), list->items.end(), other->items.begin(), other->items.end(), equals);
  }
  if (const Dict* dict = a.dict()) {
    const Dict* other = b.dict();
    return dict->entries.size() == other->entries.size() &&
           std::all_of(dict->entries.begin(), dict->entries.end(), [&](const auto& entry) {
             const Value* twin = find_key(*other, entry.first);
             return twin != nullptr && equals(entry.second, *twin);
           });
  }
  if (Namespace* name_space = a.name_space()) return name_space == b.name_space();
  return false;
}

std::optional<int> compare(const Value& a, const Value& b) {
  auto order = [](auto x, auto y) { return x < y ? -1 : y < x ? 1 : 0; };
  auto x = a.number();
  auto y = b.number();
  if (x && y) {
    auto i = a.integer();
    auto j = b.integer();
    return i && j ? order(*i, *j) : order(*x, *y);
  }
  const Text* s = a.text();
  const Text* t = b.text();
  if (s != nullptr && t != nullptr)
    return order(s->bytes.compare(t->bytes), 0);  // UTF-8 keeps the order of code points
  const List* p = a.list();
  const List* q = b.list();
  if (p == nullptr || q == nullptr || p->tuple != q->tuple) return std::nullopt;
  for (size_t i = 0; i < std::min(p->items.size(), q->items.size()); ++i) {
    if (!equals(p->items[i], q->items[i])) return compare(p->items[i], q->items[i]);
  }
  return order(p->items.size(), q->items.size());
}

std::string_view type_name(const Value& value) {
  struct Visitor {
    std::string_view operator()(const Undefined&) const { return "Undefined"; }
    std::string_view operator()(const None&) const { return "NoneType"; }
    std::string_view operator()(bool) const { return "bool"; }
    std::string_view operator()(int64_t) const { return "int"; }
    std::string_view operator()(double) const { return "float"; }
    std::string_view operator()(const std::shared_ptr<const Text>&) const { return "str"; }
    std::string_view operator()(const std::shared_ptr<const List>& list) const {
      return list->tuple ? "tuple" : "list";
    }
    std::string_view operator()(const std::shared_ptr<const Dict>&) const { return "dict"; }
    std::string_view operator()(Namespace*) const { return "Namespace"; }
    std::string_view operator()(const std::shared_ptr<Loop>&) const { return "LoopContext"; }
    std::string_view operator()(const std::shared_ptr<const Macro>&) const { return "Macro"; }
    std::string_view operator()(const std::shared_ptr<const Bound>&) const { return "builtin_function_or_method"; }
    std::string_view operator()(const Builtin&) const { return "function"; }
  };
  return std::visit(Visitor{}, value.data);
}

const Value* find_key(const Dict& dict, const Value& key) {
  if (const Text* text = key.text()) return find_member(dict, text->bytes);
  for (const auto& entry : dict.entries) {
    if (equals(entry.first, key)) return &entry.second;
  }
  return nullptr;
}

const Value* find_member(const Dict& dict, std::string_view key) {
  for (const auto& entry : dict.entries) {
    const Text* name = entry.first.text();
    if (name != nullptr && name->bytes == key) return &entry.second;
  }
  return nullptr;
}

Value literal(std::string bytes) {
  auto text = std::make_shared<Text>();
  text->ascii = all_ascii(bytes);
  text->bytes = std::move(bytes);
  return std::shared_ptr<const Text>(std::move(text));
}

namespace {

// Roles are chosen from a list, not free text; templates build control tokens from them ("<|" + role + "|>").
bool is_role_word(std::string_view word) {
  return word.size() <= 32 &&
         std::all_of(word.begin(), word.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

Value marked_text(const std::string& bytes, bool marked) {
  auto text = std::make_shared<Text>();
  text->ascii = all_ascii(bytes);
  text->bytes = bytes;
  if (marked && !bytes.empty()) text->marks.push_back({0, bytes.size()});
  return std::shared_ptr<const Text>(std::move(text));
}

Value from_object(const JsonObject& object, bool marked) {
  auto dict = std::make_shared<Dict>();
  dict->entries.reserve(object.members.size());
  for (const auto& member : object.members) {
    const Json& value = member.second;
    bool role = member.first == "role" && value.is_string() && is_role_word(value.as_string());
    dict->entries.emplace_back(marked_text(member.first, marked), from_json(value, marked && !role));
    dict->depth = std::max(dict->depth, depth_of(dict->entries.back().second) + 1);
  }
  return std::shared_ptr<const Dict>(std::move(dict));
}

}  // namespace

Value from_json(const Json& json, bool marked) {
  switch (json.kind()) {
    case Json::Kind::kNull:
      return None{};
    case Json::Kind::kBool:
      return json.as_bool();
    case Json::Kind::kInt:
      return json.as_int();
    case Json::Kind::kDouble:
      return json.as_double();
    case Json::Kind::kString:
      return marked_text(json.as_string(), marked);
    case Json::Kind::kArray: {
      auto list = std::make_shared<List>();
      list->items.reserve(json.size());
      for (const Json& item : json.as_array()) {
        list->items.push_back(from_json(item, marked));
        list->depth = std::max(list->depth, depth_of(list->items.back()) + 1);
      }
      return std::shared_ptr<const List>(std::move(list));
    }
    case Json::Kind::kObject:
      return from_object(json.as_object(), marked);
  }
  return None{};
}

bool all_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

size_t char_bytes(std::string_view bytes, size_t at) {
  auto lead = static_cast<uint8_t>(bytes[at]);
  size_t n = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (at + n > bytes.size()) return 1;
  for (size_t i = 1; i < n; ++i) {
    if ((static_cast<uint8_t>(bytes[at + i]) & 0xC0) != 0x80) return 1;
  }
  return n;
}

size_t count_chars(const Text& text) {
  if (text.ascii) return text.bytes.size();
  size_t count = 0;
  for (size_t at = 0; at < text.bytes.size(); at += char_bytes(text.bytes, at)) ++count;
  return count;
}

size_t char_offset(const Text& text, size_t n) {
  if (text.ascii) return std::min(n, text.bytes.size());
  size_t at = 0;
  for (; n > 0 && at < text.bytes.size(); --n) at += char_bytes(text.bytes, at);
  return at;
}

uint32_t code_point(std::string_view bytes, size_t at) {
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])); };
  switch (char_bytes(bytes, at)) {
    case 2:
      return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    case 4:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    default:
      return byte(0);
  }
}

void append_code_point(std::string& out, uint32_t code) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(static_cast<uint8_t>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace millrace::text::jinja
