// The part of MessagePack that KV events need, written in its shortest form. Source: msgpack/spec.md, version 5.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::server {

void pack_nil(std::string& out);
void pack_uint(std::string& out, uint64_t value);
void pack_float(std::string& out, double value);
void pack_text(std::string& out, std::string_view text);
void pack_array(std::string& out, uint32_t n);  // n values follow
void pack_map(std::string& out, uint32_t n);    // n pairs of values follow

}  // namespace millrace::server
