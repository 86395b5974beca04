# The CUDA backend: a plugin that the registry loads at run time. Without a CUDA compiler it is left out and the
# build goes on; the CPU then answers.
file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS native/cuda/*.cu native/cuda/*.cpp)
if(NOT CUDA_SOURCES)
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "pointsman: no CUDA compiler was found; building for the CPU alone")
  return()
endif()

# The flags below say for which devices; CMake must add none.
set(CMAKE_CUDA_ARCHITECTURES OFF)
enable_language(CUDA)
# CMake 3.25 does not know nvcc's flag for C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

add_library(pointsman_cuda MODULE ${CUDA_SOURCES})
target_include_directories(pointsman_cuda PRIVATE native/include)
# sm_90a for wgmma, which exists in no other form; PTX of the oldest for whatever comes later.
target_compile_options(pointsman_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
  -gencode=arch=compute_80,code=[sm_80,compute_80] -gencode=arch=compute_90a,code=sm_90a>)
set_target_properties(pointsman_cuda PROPERTIES
  CUDA_RUNTIME_LIBRARY Static LIBRARY_OUTPUT_DIRECTORY ${POINTSMAN_OUTPUT})
