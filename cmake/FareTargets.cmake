# Helpers that give every floor of the house the same shape: one static library `fare_<floor>` and one test program
# `<floor>_test` holding the `*_test.cpp` files that lie beside the sources.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(FARE_CCACHE ccache)
if(FARE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The precompiled header needs these sloppiness settings to be cacheable; paths below the source folder are taken as
  # relative, so that several build folders share what is compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${FARE_CCACHE})
endif()
find_program(FARE_MOLD mold)
find_program(FARE_LLD ld.lld)
if(FARE_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(FARE_LLD)
  add_link_options(-fuse-ld=lld)
endif()

add_library(fare_options INTERFACE)
target_include_directories(fare_options INTERFACE "${CMAKE_SOURCE_DIR}")
# No fused contraction: sums in the statistics must give the same bits on every machine.
target_compile_options(fare_options INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers -ffp-contract=off
                       -fpch-preprocess $<$<BOOL:${FARE_WERROR}>:-Werror>)
# As the test library sets it for its users: a precompiled header wants the same macros everywhere.
target_compile_definitions(fare_options INTERFACE GTEST_HAS_PTHREAD=1)
if(FARE_SANITIZE)
  target_compile_options(fare_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer)
  target_link_options(fare_options INTERFACE -fsanitize=address,undefined)
endif()

# Two precompiled headers serve every target: `torch` for those that see LibTorch, `plain` for the others. Each is compiled
# once, with -fPIC; a program compiled with -fPIE could not use it.
function(fare_precompile target kind)
  set(carrier fare_${kind}_pch)
  if(NOT TARGET ${carrier})
    file(WRITE "${CMAKE_BINARY_DIR}/${kind}_pch.cpp" "// Only carries the precompiled header.\n")
    add_library(${carrier} OBJECT "${CMAKE_BINARY_DIR}/${kind}_pch.cpp")
    target_link_libraries(${carrier} PUBLIC fare_options nlohmann_json::nlohmann_json $<$<STREQUAL:${kind},torch>:LibTorch::LibTorch>)
    target_precompile_headers(${carrier} PRIVATE "${CMAKE_SOURCE_DIR}/cmake/${kind}_pch.h")
  endif()
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  target_precompile_headers(${target} REUSE_FROM ${carrier})
endfunction()

# Several files of a target in one compilation: what they include is read, and its templates are made, once for all of them.
option(FARE_UNITY "Compile files in batches: less than half the time from nothing, more for one touched file" ON)
function(fare_batch target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${FARE_UNITY} UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# fare_floor(<name> [TORCH] SOURCES a.cpp .. [TESTS a_test.cpp ..] [ALONE a.cpp ..] [DEPS fare_core ..] [TEST_DEPS ..])
# ALONE: files whose local names (of their anonymous namespace) another file of the floor has too; they go into no batch.
function(fare_floor name)
  cmake_parse_arguments(F "TORCH" "" "SOURCES;TESTS;ALONE;DEPS;TEST_DEPS" ${ARGN})
  add_library(fare_${name} STATIC ${F_SOURCES})
  set_source_files_properties(${F_ALONE} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(fare_${name} PUBLIC fare_options ${F_DEPS})
  set(pch plain)
  if(F_TORCH)
    set(pch torch)
    target_link_libraries(fare_${name} PUBLIC LibTorch::LibTorch)
  endif()
  fare_precompile(fare_${name} ${pch})
  fare_batch(fare_${name})
  if(FARE_BUILD_TESTS AND F_TESTS)
    add_executable(${name}_test ${F_TESTS})
    target_link_libraries(${name}_test PRIVATE fare_${name} fare_source_folder GTest::gtest_main ${F_TEST_DEPS})
    fare_precompile(${name}_test ${pch})
    fare_batch(${name}_test)
    add_test(NAME ${name} COMMAND ${name}_test)
    # Threads of a busy machine that wait by spinning make a test up to fifty times slower.
    set_tests_properties(${name} PROPERTIES WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE")
  endif()
endfunction()
