#include "server/msgpack.h"

#include <bit>

namespace millrace::server {
namespace {

// `n_bytes` of the value, most significant first.
void put(std::string& out, uint64_t value, int n_bytes) {
  for (int i = n_bytes; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i)));
}

void put_tagged(std::string& out, uint8_t tag, uint64_t value, int n_bytes) {
  out.push_back(static_cast<char>(tag));
  put(out, value, n_bytes);
}

}  // namespace

void pack_nil(std::string& out) { put(out, 0xc0, 1); }

void pack_uint(std::string& out, uint64_t value) {
  if (value < 0x80) {
    put(out, value, 1);
  } else if (value <= UINT8_MAX) {
    put_tagged(out, 0xcc, value, 1);
  } else if (value <= UINT16_MAX) {
    put_tagged(out, 0xcd, value, 2);
  } else if (value <= UINT32_MAX) {
    put_tagged(out, 0xce, value, 4);
  } else {
    put_tagged(out, 0xcf, value, 8);
  }
}

void pack_float(std::string& out, double value) { put_tagged(out, 0xcb, std::bit_cast<uint64_t>(value), 8); }

void pack_text(std::string& out, std::string_view text) {
  if (text.size() < 32) {
    put(out, 0xa0 | text.size(), 1);
  } else if (text.size() <= UINT8_MAX) {
    put_tagged(out, 0xd9, text.size(), 1);
  } else {
    put_tagged(out, 0xdb, text.size(), 4);
  }
  out += text;
}

void pack_array(std::string& out, uint32_t n) {
  if (n < 16) {
    put(out, 0x90 | n, 1);
  } else {
    put_tagged(out, 0xdd, n, 4);
  }
}

void pack_map(std::string& out, uint32_t n) {
  if (n < 16) {
    put(out, 0x80 | n, 1);
  } else {
    put_tagged(out, 0xdf, n, 4);
  }
}

}  // namespace millrace::server
