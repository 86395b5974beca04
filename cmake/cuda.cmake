# The CUDA backend: a plugin that the registry loads at run time. Without a CUDA compiler it is left out and the
# build goes on; the CPU then answers.

# The test and the benchmark of the backend, for a device or an emulated one: pointsman_cuda_test and _bench, with a
# suffix, in `folder`, from the objects of a target.
function(pointsman_cuda_programs suffix folder objects)
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/native/test/cuda)  # not in the npm package
    return()
  endif()
  find_path(POINTSMAN_DOCTEST doctest/doctest.h)
  if(POINTSMAN_DOCTEST)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/native/test/cuda/*_test.cpp)
    if(suffix STREQUAL "")
      list(FILTER sources EXCLUDE REGEX emulated_test)
    endif()
    add_executable(pointsman_cuda_test${suffix} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/native/test/main.cpp ${sources})
    target_include_directories(pointsman_cuda_test${suffix} SYSTEM PRIVATE ${POINTSMAN_DOCTEST})
    target_compile_options(pointsman_cuda_test${suffix} PRIVATE -Wno-restrict)  # GCC 12's bug 105651
  endif()
  add_executable(pointsman_cuda_bench${suffix} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/native/bench/cuda.cpp)
  foreach(program pointsman_cuda_test${suffix} pointsman_cuda_bench${suffix})
    if(TARGET ${program})
      target_link_libraries(${program} PRIVATE ${objects} pointsman_native)
      target_include_directories(${program} PRIVATE ${CMAKE_SOURCE_DIR}/native)
      set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${folder})
    endif()
  endforeach()
endfunction()

if(POINTSMAN_CUDA_EMULATION)
  add_subdirectory(native/test/cuda_emulation)
endif()

if(NOT POINTSMAN_CUDA OR CMAKE_CROSSCOMPILING)
  message(STATUS "pointsman: the CUDA plugin is left out")
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
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know nvcc's flag for C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS native/cuda/*.cu native/cuda/*.cpp)
add_library(pointsman_cuda_objects OBJECT ${CUDA_SOURCES})
target_include_directories(pointsman_cuda_objects PUBLIC native native/include)
target_link_libraries(pointsman_cuda_objects PUBLIC CUDA::cudart_static)
# sm_90a for instructions that exist in no other form; PTX of the oldest for whatever comes later.
target_compile_options(pointsman_cuda_objects PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
  -gencode=arch=compute_80,code=[sm_80,compute_80] -gencode=arch=compute_90a,code=sm_90a>
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)

add_library(pointsman_cuda MODULE)
target_link_libraries(pointsman_cuda PRIVATE pointsman_cuda_objects)
set_target_properties(pointsman_cuda PROPERTIES LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${POINTSMAN_OUTPUT})
target_link_options(pointsman_cuda PRIVATE -Wl,--exclude-libs,ALL)

# Without Node: test and benchmark beside a plugin of their own.
set(folder ${CMAKE_BINARY_DIR}/cuda)
pointsman_cuda_programs("" ${folder} pointsman_cuda_objects)
if(NOT TARGET pointsman_cuda_bench)
  return()
endif()
add_custom_target(pointsman_cuda_box DEPENDS pointsman_cuda pointsman_cuda_bench
  COMMAND ${CMAKE_COMMAND} -E create_symlink $<TARGET_FILE:pointsman_cuda> ${folder}/$<TARGET_FILE_NAME:pointsman_cuda>)
if(TARGET pointsman_cuda_test)
  add_dependencies(pointsman_cuda_box pointsman_cuda_test)
endif()
