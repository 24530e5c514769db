#include "server/text_work.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <memory>
#include <utility>

#include "base/out_of_memory.h"
#include "instance/instance.h"
#include "server/connection.h"

namespace millrace::server {
namespace {

struct Errand {
  std::atomic<bool> abandoned{false};  // set by the IO thread
  bool failed = false;                 // worker, before `done`
  bool done = false;                   // IO thread
};

}  // namespace

boost::asio::awaitable<Result<void>> run_on_text_worker(Connection& connection, instance::Instance& instance,
                                                        size_t n_bytes, std::function<void()> work) {
  auto errand = std::make_shared<Errand>();
  // The connection is alive when the last lambda runs: this coroutine, which it owns, waits for it.
  Result<void> posted =
      instance.post_text_work(n_bytes, [errand, &loop = connection.io().context(), event = &connection.event(), work] {
        try {
          if (!errand->abandoned.load()) work();
        } catch (const std::bad_alloc&) {
          errand->failed = true;
        }
        boost::asio::post(loop, [errand, event] {
          errand->done = true;
          event->set();
        });
      });
  if (!posted.ok()) co_return posted.take_error();
  while (!errand->done) {
    bool stopping = connection.context().lifecycle.load() == Lifecycle::kStopping;
    if (connection.gone() || stopping) errand->abandoned.store(true);
    connection.listen();
    co_await connection.event().wait_until(TimePoint::max());
  }
  if (errand->abandoned.load()) co_return Error{ErrorCode::kCancelled, "the client left", ""};
  if (errand->failed) co_return out_of_memory("handling the request");
  co_return Result<void>();
}

}  // namespace millrace::server
