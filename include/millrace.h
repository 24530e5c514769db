/* Millrace inside another program: a C interface to the engine and its API.
 *
 * A server of the process it is called in: model, engine and threads live here, and requests go over a socket that
 * only this user can open (--uds) or over TCP, in every dialect of the server. There is one door for requests, so what
 * holds for the server holds here: the same checks, limits, batching, metrics and bits.
 *
 * Strings are UTF-8 and end in NUL. Functions may be called from any thread; two calls on one server may overlap, but
 * none may follow millrace_stop(). A child made by fork() must not use a server of its parent.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MILLRACE_ABI 1

typedef struct millrace_server millrace_server;

/* The MILLRACE_ABI that the library was built with. */
int32_t millrace_abi(void);

/* Begins what `millrace serve ARGS` would serve: flags and the model, without the program's name. Returns at once,
 * while the model loads. NULL: a bad flag, or the socket cannot be bound; then error[0..error_size) says why. */
millrace_server* millrace_start(const char* const* args, size_t n_args, char* error, size_t error_size);

/* "unix:PATH" or "http://HOST:PORT"; lives as long as the server. */
const char* millrace_url(const millrace_server* server);

/* Waits until the model is loaded, at most timeout_ms. 1: ready; 0: still loading; -1: it ended, error says why. */
int32_t millrace_wait_ready(millrace_server* server, int64_t timeout_ms, char* error, size_t error_size);

/* Running requests are answered (at most --shutdown-timeout), new ones refused; then everything is freed. The exit code
 * that `millrace serve` would have had: 0 when all is well. NULL is 0. */
int32_t millrace_stop(millrace_server* server);

#ifdef __cplusplus
}
#endif

#endif
