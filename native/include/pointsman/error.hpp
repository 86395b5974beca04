// Errors of the native side. Everything that can go wrong for a caller is thrown as Error with a code of
// errors.def; the addon turns it into a JavaScript error with the same `code`.
#pragma once

#include <stdexcept>
#include <string>

namespace pointsman {

enum class Code {
#define POINTSMAN_ERROR(code, meaning) code,
#include "pointsman/errors.def"
#undef POINTSMAN_ERROR
};

// The stable name of a code, e.g. "BAD_K".
const char* code_name(Code code) noexcept;

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const noexcept { return code_; }

 private:
  Code code_;
};

}  // namespace pointsman
