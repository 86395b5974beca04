#include "boundary.hpp"

#include <cmath>
#include <new>

namespace pointsman::addon {

Napi::Error to_js_error(Napi::Env env, const std::exception& error) {
  const char* code = "INTERNAL";
  std::string message = error.what();
  if (const auto* ours = dynamic_cast<const Error*>(&error)) {
    code = code_name(ours->code());
  } else if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const std::length_error*>(&error)) {
    code = code_name(Code::OUT_OF_MEMORY);
    message = "memory ran out; nothing was changed";
  }
  Napi::Error js = Napi::Error::New(env, message);
  js.Value().Set("code", Napi::String::New(env, code));
  return js;
}

Napi::Value guarded(const Napi::CallbackInfo& info, const std::function<Napi::Value()>& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw to_js_error(info.Env(), error);
  }
}

namespace {

// napi_get_typedarray_info reports a null pointer and length 0 for a detached buffer, as it does for an empty
// array: only the buffer can tell the two apart.
template <typename T>
std::span<const T> elements(const Napi::Value& value, const char* name, napi_typedarray_type wanted,
                            const char* wanted_name) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  size_t offset = 0;
  bool is_typed_array = false;
  const napi_env env = value.Env();
  if (value.IsEmpty() || napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, &offset) != napi_ok ||
      type != wanted) {
    throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a " + wanted_name);
  }
  bool detached = false;
  bool is_array_buffer = false;
  // A SharedArrayBuffer cannot be detached, and the check does not take one.
  if (napi_is_arraybuffer(env, buffer, &is_array_buffer) == napi_ok && is_array_buffer &&
      napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && detached) {
    throw Error(Code::DETACHED_BUFFER, std::string(name) + " was given a buffer that was transferred away");
  }
  if (length == 0 || data == nullptr) return {};
  return {static_cast<const T*>(data), length};
}

}  // namespace

std::span<const float> floats(const Napi::Value& value, const char* name) {
  return elements<float>(value, name, napi_float32_array, "Float32Array");
}

std::span<const uint32_t> words(const Napi::Value& value, const char* name) {
  return elements<uint32_t>(value, name, napi_uint32_array, "Uint32Array");
}

std::span<const uint8_t> bytes(const Napi::Value& value, const char* name) {
  return elements<uint8_t>(value, name, napi_uint8_array, "Uint8Array");
}

double number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a number");
  const double x = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(x)) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be finite");
  return x;
}

int64_t integer(const Napi::Value& value, const char* name, int64_t low, int64_t high) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high)) || x != std::floor(x)) {
    throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an integer from " + std::to_string(low) +
                                        " to " + std::to_string(high));
  }
  return static_cast<int64_t>(x);
}

std::string text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

void tag(const Napi::Value& object, const napi_type_tag& type) {
  if (napi_type_tag_object(object.Env(), object, &type) != napi_ok) {
    throw Error(Code::BAD_ARGUMENT, "the object was constructed twice");
  }
}

void check_tag(const Napi::Value& object, const napi_type_tag& type, const char* name) {
  bool same = false;
  if (!object.IsObject() || napi_check_object_type_tag(object.Env(), object, &type, &same) != napi_ok ||
      !same) {
    throw Error(Code::BAD_ARGUMENT, std::string(name) + " is not an object of the class that it should be");
  }
}

}  // namespace pointsman::addon
