// MessagePack to Json, as far as KV events go. Integers beyond int64 keep their bits. Source: msgpack/spec.md, version
// 5. A test aid: input that is cut short is nil. Thread: any.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace millrace::testing {

class MsgpackReader {
 public:
  explicit MsgpackReader(std::string_view bytes) : bytes_(bytes) {}
  bool at_end() const { return at_ == bytes_.size(); }

  Json value() {
    auto tag = static_cast<uint8_t>(number(1));
    if (tag < 0x80) return Json(int64_t{tag});
    if (tag < 0x90) return map(tag & 0x0f);
    if (tag < 0xa0) return array(tag & 0x0f);
    if (tag < 0xc0) return text(tag & 0x1f);
    switch (tag) {
      case 0xcb:
        return Json(std::bit_cast<double>(number(8)));
      case 0xcc:
        return Json(static_cast<int64_t>(number(1)));
      case 0xcd:
        return Json(static_cast<int64_t>(number(2)));
      case 0xce:
        return Json(static_cast<int64_t>(number(4)));
      case 0xcf:
        return Json(static_cast<int64_t>(number(8)));
      case 0xd9:
        return text(number(1));
      case 0xdb:
        return text(number(4));
      case 0xdd:
        return array(number(4));
      case 0xdf:
        return map(number(4));
      default:
        return {};
    }
  }

 private:
  uint64_t number(int n_bytes) {
    uint64_t out = 0;
    for (int i = 0; i < n_bytes && at_ < bytes_.size(); ++i) out = out << 8 | static_cast<uint8_t>(bytes_[at_++]);
    return out;
  }
  Json text(uint64_t n) {
    std::string_view out = bytes_.substr(at_, n);
    at_ += out.size();
    return Json(out);
  }
  Json array(uint64_t n) {
    Json out = Json::array();
    for (; n > 0 && !at_end(); --n) out.push_back(value());
    return out;
  }
  Json map(uint64_t n) {
    Json out = Json::object();
    for (; n > 0 && !at_end(); --n) {
      Json key = value();
      out.set(key.as_string(), value());
    }
    return out;
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

}  // namespace millrace::testing
