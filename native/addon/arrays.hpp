// Vectors of C++ and typed arrays of JavaScript.
#pragma once

#include <napi.h>

#include <cstring>
#include <span>
#include <vector>

namespace pointsman::addon {

template <typename T>
std::vector<T> copy(std::span<const T> from) {
  return {from.begin(), from.end()};
}

template <typename T>
Napi::TypedArrayOf<T> to_array(Napi::Env env, const std::vector<T>& values) {
  auto array = Napi::TypedArrayOf<T>::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

}  // namespace pointsman::addon
