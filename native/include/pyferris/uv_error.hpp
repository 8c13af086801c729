// What libuv refused, as an exception. Made in one place, so that a code never travels as a bare number.
#pragma once

#include <stdexcept>

namespace pyferris {

/// A libuv call failed. `what()` names the call, uv's code and its text.
class UvError : public std::runtime_error {
  public:
    UvError(const char* call, int code);
    int code() const noexcept { return code_; }

  private:
    int code_;
};

/// Throws UvError if `code` is one of failure.
void check_uv(int code, const char* call);

}  // namespace pyferris
