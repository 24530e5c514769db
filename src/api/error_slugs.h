// error.code of replies is error_slug() of the ErrorCode, with one exception.
// Thread: any.
#pragma once

#include <string_view>

namespace millrace::api {

// Of kModelNotFound where what is not found is a response (source: OpenAI, Responses API).
constexpr std::string_view kResponseNotFound = "response_not_found";

}  // namespace millrace::api
