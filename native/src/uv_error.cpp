#include "pyferris/uv_error.hpp"

#include <uv.h>

#include <string>

namespace pyferris {

UvError::UvError(const char* call, int code)
    : std::runtime_error(std::string(call) + " failed with " + uv_err_name(code) + ": " + uv_strerror(code)),
      code_(code) {}

void check_uv(int code, const char* call) {
    if (code < 0) throw UvError(call, code);
}

}  // namespace pyferris
