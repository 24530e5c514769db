// millrace session: saved conversations. list and rm look at the folder; save, restore and erase ask a running server
// (POST /slots/ID?action=...).
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "app/bench_client.h"
#include "app/commands.h"
#include "app/flags.h"
#include "base/json.h"
#include "base/macros.h"
#include "instance/session_file.h"

namespace millrace::app {
namespace {

struct SessionFlags {
  std::string action;
  std::string first;
  std::string second;
  std::string folder;
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
};

Result<std::string> needed(const std::string& value, std::string_view what) {
  if (!value.empty()) return value;
  return Error{ErrorCode::kUsage, fmt::format("session: {} is missing (see session --help)", what), std::string(what)};
}

Result<int> list(const SessionFlags& f) {
  std::string folder = TRY(needed(f.folder, "--slot-save-path"));
  for (const instance::SessionEntry& row : TRY(instance::list_sessions(folder))) {
    if (row.fault.empty()) {
      fmt::print("{:<40} {:>9} tokens {:>12} bytes\n", row.name, row.n_tokens, row.n_bytes);
    } else {
      fmt::print("{:<40} {}\n", row.name, row.fault);
    }
  }
  return 0;
}

Result<int> remove(const SessionFlags& f) {
  std::string folder = TRY(needed(f.folder, "--slot-save-path"));
  std::string name = TRY(needed(f.first, "FILE"));
  TRY(instance::check_session_name(name));
  if (::unlink((folder + "/" + name).c_str()) == 0) return 0;
  ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Error{code, fmt::format("{}: {}", name, std::strerror(errno)), ""};
}

// ID FILE for save and restore, ID for erase.
Result<int> ask_server(const SessionFlags& f) {
  std::string id = TRY(needed(f.first, "ID"));
  bool with_file = f.action != "erase";
  Json body = Json::object();
  if (with_file) body.set("filename", TRY(needed(f.second, "FILE")));
  BenchTarget target = TRY(parse_bench_url(f.url, fmt::format("/slots/{}?action={}", id, f.action)));
  if (!f.api_key.empty()) target.headers.emplace_back("Authorization", "Bearer " + f.api_key);
  HttpAnswer answer = TRY(http_post(target, body.dump()));
  fmt::print("{}\n", answer.body);
  return answer.status == 200 ? 0 : 1;
}

}  // namespace

Result<int> session_command(std::span<const std::string> args) {
  SessionFlags f;
  FlagSet set(
      "session",
      "Saved conversations: list | rm FILE | save ID FILE | restore ID FILE | erase ID. ID: a slot's number or a "
      "session_id.");
  set.positional("ACTION", &f.action, "list | rm | save | restore | erase", true);
  set.positional("ID|FILE", &f.first, "of rm: a file; else a slot or session_id", false);
  set.positional("FILE", &f.second, "name in the server's folder", false);
  set.add("--slot-save-path", &f.folder, "the folder, for list and rm");
  set.add("--url", &f.url, "the server, for save, restore and erase");
  set.add("--api-key", &f.api_key, "an admin key of the server");
  if (!TRY(set.parse(args))) return 0;
  if (f.action == "list") return list(f);
  if (f.action == "rm") return remove(f);
  if (f.action == "save" || f.action == "restore" || f.action == "erase") return ask_server(f);
  return Error{ErrorCode::kUsage,
               fmt::format("session {}: want list, rm, save, restore or erase", quote_for_message(f.action)), "ACTION"};
}

}  // namespace millrace::app
