// The addon's exports: one object, one group of functions for each part.
#include "boundary.hpp"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new pointsman::addon::Environment(env));
  auto table = Napi::Object::New(env);
#define POINTSMAN_ERROR(code, meaning) table.Set(#code, meaning);
#include "pointsman/errors.def"
#undef POINTSMAN_ERROR
  exports.Set("errorTable", table);
  pointsman::addon::init_index(env, exports);
  pointsman::addon::init_text(env, exports);
  pointsman::addon::init_train(env, exports);
  pointsman::addon::init_implicit(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(pointsman, init)
