# How every target of Skep is made: C++20 without extensions, warnings as errors, hardening, optional sanitizers.
include_guard(GLOBAL)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF) # `linux` would be a macro otherwise
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Debug)
endif()

set(SKEP_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")
option(SKEP_COVERAGE "Instrument for coverage" OFF)
set(SKEP_PROFILE "" CACHE STRING "Clang: 'make' counts what is run; a file of llvm-profdata's optimises by what was counted")

find_program(SKEP_CCACHE ccache)
if(SKEP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${SKEP_CCACHE}")
endif()
find_program(SKEP_LLD ld.lld)
if(SKEP_LLD AND NOT WIN32)
  add_link_options(-fuse-ld=lld)
endif()

add_library(skep_build_flags INTERFACE)
target_compile_options(skep_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  -fstack-protector-strong -fno-omit-frame-pointer)
target_compile_definitions(skep_build_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_compile_options(skep_build_flags INTERFACE $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
if(NOT WIN32)
  target_link_options(skep_build_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(SKEP_SANITIZE)
  target_compile_options(skep_build_flags INTERFACE -fsanitize=${SKEP_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(skep_build_flags INTERFACE -fsanitize=${SKEP_SANITIZE})
endif()
if(SKEP_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC warns of asio's fences, which ThreadSanitizer does not see; asio's own locks order the same things.
  target_compile_options(skep_build_flags INTERFACE -Wno-tsan)
endif()
if(SKEP_PROFILE STREQUAL "make")
  target_compile_options(skep_build_flags INTERFACE -fprofile-instr-generate)
  target_link_options(skep_build_flags INTERFACE -fprofile-instr-generate)
elseif(SKEP_PROFILE)
  # Warnings: what the profile never ran, and what was changed since.
  target_compile_options(skep_build_flags INTERFACE -flto=thin -fprofile-instr-use=${SKEP_PROFILE}
    -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date)
  target_link_options(skep_build_flags INTERFACE -flto=thin)
endif()
if(SKEP_COVERAGE)
  target_compile_options(skep_build_flags INTERFACE --coverage)
  target_link_options(skep_build_flags INTERFACE --coverage)
endif()

# skep_add_library(NAME SOURCES a.cpp ... [DEPS public...] [PRIVATE_DEPS private...])
function(skep_add_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PUBLIC ${arg_DEPS} PRIVATE skep_build_flags ${arg_PRIVATE_DEPS})
  if(SKEP_FUZZ)  # what fuzz targets are guided by: the coverage of libraries
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# skep_optimise(NAME...): what the simulator runs a million times is optimised in debug builds, too. Sanitizers see it as it is.
function(skep_optimise)
  if(CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT SKEP_SANITIZE AND NOT SKEP_COVERAGE)
    foreach(name IN LISTS ARGN)
      target_compile_options(${name} PRIVATE -O2)
    endforeach()
  endif()
endfunction()

# skep_add_program(NAME SOURCES main.cpp ... DEPS ...)
function(skep_add_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE skep_build_flags ${arg_DEPS})
endfunction()

# skep_add_test(NAME TIER unit|contract|sim|integration|e2e SOURCES ... DEPS ... [TIMEOUT seconds])
# One Catch2 binary per component; `ctest -L TIER` runs a tier. skep_test_main (tests/support) holds main().
function(skep_add_test name)
  cmake_parse_arguments(arg "" "TIER;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE skep_build_flags skep_test_main ${arg_DEPS})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  # Catch2 calls a binary without a test case a success.
  set_tests_properties(${name} PROPERTIES LABELS ${arg_TIER} TIMEOUT ${arg_TIMEOUT} FAIL_REGULAR_EXPRESSION "No tests ran"
    ENVIRONMENT "SKEP_SOURCE_DIR=${PROJECT_SOURCE_DIR};SKEP_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endfunction()

# skep_add_fuzzer(NAME SOURCES ... DEPS ...): libFuzzer target, run briefly by scripts/test
function(skep_add_fuzzer name)
  if(NOT SKEP_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE skep_build_flags ${arg_DEPS})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
endfunction()
