// Each test enters the sandbox in a process of its own and says what it saw there by its exit code and a line.
#include "base/sandbox.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace millrace {
namespace {

void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::_Exit(1);
}

bool program_starts() {
  char path[] = "/bin/true";
  char* args[] = {path, nullptr};
  char* none[] = {nullptr};
  ::execve(path, args, none);  // exit code 0, and no line, when it is let through
  return errno != EPERM;
}

bool call_passes(long number) { return ::syscall(number, -1, 0, 0, 0, 0) >= 0 || errno != EPERM; }

// A listener, and a client that has connected to it.
struct Waiting {
  int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  int client = ::socket(AF_INET, SOCK_STREAM, 0);
  Waiting() {
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    auto* to = reinterpret_cast<sockaddr*>(&address);
    must(::bind(listener, to, size) == 0 && ::listen(listener, 1) == 0, "a listener");
    must(::getsockname(listener, to, &size) == 0 && ::connect(client, to, size) == 0, "a client");
  }
};

[[noreturn]] void no_programs_and_no_sockets() {
  Waiting waiting;
  std::atomic<bool> entered{false};
  std::atomic<int> of_other_thread{-1};
  std::thread other([&] {  // there before
    while (!entered.load()) std::this_thread::yield();
    of_other_thread = static_cast<int>(program_starts()) + static_cast<int>(::socket(AF_INET, SOCK_STREAM, 0) >= 0);
  });
  must(enter_sandbox({}).ok(), "the sandbox");
  entered = true;
  other.join();
  must(of_other_thread == 0, "other threads are in it");
  must(!program_starts(), "no program starts");
  for (long number : {SYS_execveat, SYS_io_uring_setup, SYS_ptrace, SYS_process_vm_writev, SYS_socketpair}) {
    must(!call_passes(number), "EPERM");
  }
  for (int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK}) {
    must(::socket(family, SOCK_STREAM, 0) < 0 && errno == EPERM, "no socket");
  }
  // what a server goes on doing
  must(::accept4(waiting.listener, nullptr, nullptr, SOCK_CLOEXEC) >= 0, "clients are accepted");
  must(::send(waiting.client, "x", 1, 0) == 1, "sockets that are open work");
  must(::open("/proc/self/status", O_RDONLY) >= 0, "files open");
  std::thread([] {}).join();
  std::fprintf(stderr, "as it should be\n");
  std::_Exit(7);
}

[[noreturn]] void sockets_but_no_programs() {
  must(enter_sandbox({.sockets = true}).ok(), "the sandbox");
  must(::socket(AF_INET, SOCK_STREAM, 0) >= 0, "a socket");
  must(!program_starts(), "no program starts");
  must(enter_sandbox({}).ok(), "it can only become tighter");
  must(::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM, "no socket");
  std::fprintf(stderr, "as it should be\n");
  std::_Exit(7);
}

TEST(SandboxTest, NeitherProgramsNorSocketsAreToBeHad) {
  EXPECT_EXIT(no_programs_and_no_sockets(), ::testing::ExitedWithCode(7), "as it should be");
}

TEST(SandboxTest, SocketsCanBeLeft) {
  EXPECT_EXIT(sockets_but_no_programs(), ::testing::ExitedWithCode(7), "as it should be");
}

}  // namespace
}  // namespace millrace
