#include "pointsman/error.hpp"

namespace pointsman {

const char* code_name(Code code) noexcept {
  switch (code) {
#define POINTSMAN_ERROR(name, meaning) \
  case Code::name:                     \
    return #name;
#include "pointsman/errors.def"
#undef POINTSMAN_ERROR
  }
  return "INTERNAL";
}

}  // namespace pointsman
