# Finds LibTorch without the CMake package that ships inside the wheel: that one demands a CUDA toolkit when the wheel
# was built with CUDA. Ours links the libraries that are there.
#
# FARE_TORCH   a LibTorch folder (holds include/ and lib/); empty = the wheel in the project's .venv
# Defines the target LibTorch::LibTorch and LibTorch_VERSION.

set(_roots ${FARE_TORCH} $ENV{FARE_TORCH})
file(GLOB _wheels "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
list(APPEND _roots ${_wheels})

find_path(LibTorch_INCLUDE_DIR ATen/ATen.h PATHS ${_roots} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_library(LibTorch_torch torch PATHS ${_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_cpu torch_cpu PATHS ${_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_c10 c10 PATHS ${_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_cuda torch_cuda PATHS ${_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(LibTorch_c10_cuda c10_cuda PATHS ${_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)

if(LibTorch_INCLUDE_DIR AND EXISTS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
  set(_version_file "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
elseif(LibTorch_INCLUDE_DIR AND EXISTS "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h")
  set(_version_file "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h")
endif()
if(_version_file)
  file(STRINGS "${_version_file}" _lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" LibTorch_VERSION "${_lines}")
  string(REPLACE ";" "." LibTorch_VERSION "${LibTorch_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_torch LibTorch_cpu LibTorch_c10 LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run `make setup`, or set FARE_TORCH to a LibTorch 2.x folder")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    "${LibTorch_INCLUDE_DIR}" "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  # libtorch is a shim whose only job is to load the others: it must not be dropped as unneeded.
  target_link_libraries(LibTorch::LibTorch INTERFACE
    -Wl,--no-as-needed "${LibTorch_torch}" "${LibTorch_cpu}" -Wl,--as-needed "${LibTorch_c10}")
  if(LibTorch_cuda AND LibTorch_c10_cuda)
    target_link_libraries(LibTorch::LibTorch INTERFACE
      -Wl,--no-as-needed "${LibTorch_cuda}" -Wl,--as-needed "${LibTorch_c10_cuda}")
    target_compile_definitions(LibTorch::LibTorch INTERFACE FARE_TORCH_CUDA=1)
  endif()
  get_filename_component(_libdir "${LibTorch_torch}" DIRECTORY)
  target_link_options(LibTorch::LibTorch INTERFACE "-Wl,-rpath,${_libdir}")
endif()
