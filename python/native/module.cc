// millrace._engine: the server of include/millrace.h as a Python class.
// 1. The GIL is released wherever the engine is waited for.
// 2. No call of the C interface overlaps millrace_stop(), and none follows it: mutex_ and server_ see to that.
// 3. A child by fork() has none of the server's threads: there, stop() and the destructor do nothing.
// 4. Errors of the C interface become Python exceptions by throwing, which no other file of the project does.
// Thread: any Python thread.
#include <millrace.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace nb = nanobind;

namespace {

constexpr size_t kMessageBytes = 4096;
using Message = std::array<char, kMessageBytes>;

class Server {
 public:
  // ValueError: a bad flag, or the socket cannot be bound. The model loads after the return.
  explicit Server(const std::vector<std::string>& flags) {
    std::vector<const char*> args;
    for (const std::string& flag : flags) args.push_back(flag.c_str());
    Message error{};
    {
      nb::gil_scoped_release released;
      server_ = millrace_start(args.data(), args.size(), error.data(), error.size());
    }
    if (server_ == nullptr) throw nb::value_error(error.data());
    url_ = millrace_url(server_);
  }
  ~Server() { stop(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const std::string& url() const { return url_; }

  // True: the model is loaded; False: it still loads. RuntimeError: loading failed, or the server has ended.
  bool wait_ready(int64_t timeout_ms) {
    nb::gil_scoped_release released;
    std::lock_guard lock(mutex_);
    if (server_ == nullptr) throw std::runtime_error("the engine has been stopped");
    Message error{};
    int32_t ready = millrace_wait_ready(server_, timeout_ms, error.data(), error.size());
    if (ready < 0) throw std::runtime_error(error.data());
    return ready == 1;
  }

  // The exit code of `millrace serve`; again the same one when called again.
  int stop() {
    if (getpid() != owner_) return 0;
    nb::gil_scoped_release released;
    std::lock_guard lock(mutex_);
    if (server_ != nullptr) status_ = millrace_stop(server_);
    server_ = nullptr;
    return status_;
  }

 private:
  std::mutex mutex_;
  millrace_server* server_ = nullptr;  // guarded by mutex_
  int status_ = 0;                     // guarded by mutex_
  std::string url_;
  const pid_t owner_ = getpid();
};

}  // namespace

NB_MODULE(_engine, module) {
  module.attr("ABI") = MILLRACE_ABI;
  module.def("library_abi", &millrace_abi, "MILLRACE_ABI of the libmillrace.so that was loaded.");
  nb::class_<Server>(module, "Server", "What `millrace serve` serves, in this process.")
      .def(nb::init<const std::vector<std::string>&>(), nb::arg("flags"))
      .def_prop_ro("url", &Server::url)
      .def("wait_ready", &Server::wait_ready, nb::arg("timeout_ms"), "True: the model is loaded.")
      .def("stop", &Server::stop, "Answers what runs, then ends; the exit code.");
}
