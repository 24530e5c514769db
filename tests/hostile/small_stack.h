// Runs a body on a thread with a stack of 256 KiB, the least that any of our threads has; four times that with the
// address sanitizer, whose frames are larger. Thread: one.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>

#include <functional>

// Present in builds with the address sanitizer only.
extern "C" void __asan_init() __attribute__((weak));

namespace millrace::testing {

inline void on_small_stack(const std::function<void()>& body) {
  size_t stack_bytes = (__asan_init == nullptr ? size_t{1} : size_t{4}) * 256 * 1024;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_t thread;
  auto start = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, start, const_cast<std::function<void()>*>(&body)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace millrace::testing
