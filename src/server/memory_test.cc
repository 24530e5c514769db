// What one request may cost in memory: at most 10 times its body and 16 MiB, counted on the heap. The one exception is
// a text that is a single pre-token (a megabyte of one letter): the merges of a BPE need some 50 bytes for each of its.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "tests/support/server_fixture.h"

namespace {

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};

void note(int64_t bytes) {
  int64_t now = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t before = peak_bytes.load(std::memory_order_relaxed);
  while (now > before && !peak_bytes.compare_exchange_weak(before, now, std::memory_order_relaxed)) {
  }
}

void give_back(void* memory) {
  if (memory == nullptr) return;
  note(-static_cast<int64_t>(::malloc_usable_size(memory)));
  std::free(memory);
}

}  // namespace

// weak: a sanitizer brings its own, and then only the answers are checked
[[gnu::weak]] void* operator new(size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  note(static_cast<int64_t>(::malloc_usable_size(memory)));
  return memory;
}
[[gnu::weak]] void operator delete(void* memory) noexcept { give_back(memory); }
[[gnu::weak]] void operator delete(void* memory, size_t) noexcept { give_back(memory); }

namespace millrace::server {
namespace {

using testing::TestServer;

constexpr size_t kMiB = 1024 * 1024;

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  out.reserve(text.size() * n);
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

// Sends one request and throws the reply away; its status.
int send_and_drop(uint16_t port, const std::string& bytes) {
  testing::HttpClient client(port);
  if (!client.send(bytes)) return 0;
  std::string head;
  head.reserve(64 * 1024);
  while (client.receive(20000)) {
    if (head.size() < 12) head.append(client.buffer(), 0, 12);
    client.buffer().clear();
  }
  return head.size() < 12 ? 0 : (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
}

TEST(Memory, OneRequestCostsAtMostTenTimesItsBody) {
  struct Row {
    const char* name;
    const char* path;
    std::string body;
    int status;
  };
  std::string text = repeat("some words of text, ", kMiB / 20);
  std::string keys = "\"0\":0";
  for (int i = 1; i < 75'000; ++i) keys += ",\"key " + std::to_string(i) + "\":0";
  const Row rows[] = {
      {"text", "/tokenize", R"({"prompt":")" + text + "\"}", 200},
      {"short words", "/tokenize", R"({"prompt":")" + repeat("a ", kMiB / 2) + "\"}", 200},
      {"strings of tokens", "/tokenize", R"({"prompt":")" + text + R"(","return_token_strs":true})", 200},
      {"pieces", "/tokenize", R"({"content":")" + text + R"(","with_pieces":true})", 200},
      {"escapes", "/tokenize", R"({"prompt":")" + repeat("\\u00e4b ", kMiB / 8) + "\"}", 200},
      {"chat", "/v1/chat/completions", R"({"messages":[{"role":"user","content":")" + text + "\"}]}", 400},
      {"completion", "/v1/completions", R"({"prompt":")" + text + "\"}", 400},
      {"ids", "/detokenize", R"({"tokens":[)" + repeat("99,", 450'000) + "1]}", 200},
      {"prompt of ids", "/v1/completions", R"({"prompt":[)" + repeat("99,", 450'000) + "1]}", 400},
      {"numbers", "/v1/completions", R"({"prompt":"a","max_tokens":1,"x":[)" + repeat("1,", 450'000) + "1]}", 200},
      {"arrays", "/v1/completions", R"({"prompt":"a","x":[)" + repeat("[],", 450'000) + "1]}", 400},
      {"objects", "/v1/completions", R"({"prompt":"a","x":[)" + repeat("{},", 450'000) + "1]}", 400},
      {"members", "/v1/completions", R"({"prompt":"a","x":[)" + repeat("{\"\":1},", 225'000) + "1]}", 400},
      {"strings", "/v1/completions", R"({"prompt":"a","x":[)" + repeat("\"\",", 450'000) + "1]}", 400},
      {"keys", "/v1/completions", R"({"prompt":"a","max_tokens":1,"x":{)" + keys + "}}", 200},
      {"not JSON", "/v1/completions", repeat("[", kMiB), 400},
  };
  TestServer server;
  for (const Row& row : rows) {
    std::string bytes = testing::HttpClient::post_bytes(row.path, row.body, "Connection: close\r\n");
    int64_t before = live_bytes.load();
    peak_bytes.store(before);
    EXPECT_EQ(send_and_drop(server.port(), bytes), row.status) << row.name;
    auto cost = static_cast<size_t>(peak_bytes.load() - before);
    EXPECT_LE(cost, 10 * row.body.size() + 16 * kMiB)
        << row.name << ": " << cost / kMiB << " MiB for a body of " << row.body.size() / kMiB << " MiB";
  }
}

}  // namespace
}  // namespace millrace::server
