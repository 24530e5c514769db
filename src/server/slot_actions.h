// POST /slots/{id}?action=save|restore|erase, as llama-server has it: the KV of a conversation to a file in the folder
// of --slot-save-path, and back. A slot is the last conversation that asked for it by id_slot (0 without); an id that
// is no number is a session_id.
// Thread: IO; files are read and written by a text worker.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;

boost::asio::awaitable<void> serve_slot_action(Connection& connection, HttpRequest request, const Route& route);

}  // namespace millrace::server
