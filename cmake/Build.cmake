# Flags that every target of ours gets, and the three ways to add one:
#   vpn_library(NAME sources... [LIBS lib...])
#   vpn_program(NAME sources... [LIBS lib...])      installed into bin
#   vpn_unit_test(NAME sources... [LIBS lib...])    cmocka, run by ctest with label "unit"
#   vpn_fuzz_target(NAME source [LIBS lib...])      corpus in tests/fuzz/corpus/NAME; with
#                                                   -DVPN_FUZZ=ON a libFuzzer program, else a
#                                                   plain test that runs the corpus
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # accept4, pidfd, splice
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(VPN_SANITIZE "Address and undefined-behaviour sanitizers" OFF)
option(VPN_FUZZ "Build libFuzzer programs (clang only)" OFF)
option(VPN_WERROR "Warnings are errors" OFF)

# On arm64 a char has no sign: so here as well, that tests see what runs there.
add_compile_options(-funsigned-char)

add_library(vpn_flags INTERFACE)
target_compile_options(vpn_flags INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings
  -Wvla -Wformat=2 -Wno-unused-parameter -fno-common -fstack-protector-strong)
target_compile_definitions(vpn_flags INTERFACE _GNU_SOURCE VPN_VERSION="${PROJECT_VERSION}")
target_include_directories(vpn_flags INTERFACE "${PROJECT_SOURCE_DIR}")
if(VPN_WERROR)
  target_compile_options(vpn_flags INTERFACE -Werror)
endif()
if(VPN_SANITIZE)
  target_compile_options(vpn_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(vpn_flags INTERFACE -fsanitize=address,undefined)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(vpn_flags INTERFACE -D_FORTIFY_SOURCE=2)
endif()
if(VPN_FUZZ)
  target_compile_options(vpn_flags INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(vpn_flags INTERFACE -fsanitize=address,undefined)
endif()

function(_vpn_split)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  set(sources ${arg_UNPARSED_ARGUMENTS} PARENT_SCOPE)
  set(libs ${arg_LIBS} PARENT_SCOPE)
endfunction()

function(vpn_library name)
  _vpn_split(${ARGN})
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC vpn_flags ${libs})
endfunction()

function(vpn_program name)
  _vpn_split(${ARGN})
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${libs} vpn_flags)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

function(vpn_unit_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  _vpn_split(${ARGN})
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${libs} vpn_flags PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 60)
endfunction()

function(vpn_fuzz_target name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  _vpn_split(${ARGN})
  set(corpus "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
  if(VPN_FUZZ)
    add_executable(${name} ${sources})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # What it finds goes into the first folder, so that the tree stays as it is.
    file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/corpus/${name}")
    add_test(NAME ${name} COMMAND ${name} -runs=20000 -max_total_time=20
      "${PROJECT_BINARY_DIR}/corpus/${name}" "${corpus}")
  else()
    add_executable(${name} ${sources} "${PROJECT_SOURCE_DIR}/tests/fuzz/run_corpus.c")
    add_test(NAME ${name} COMMAND ${name} "${corpus}")
  endif()
  target_link_libraries(${name} PRIVATE ${libs} vpn_flags)
  set_tests_properties(${name} PROPERTIES LABELS "unit;corpus" TIMEOUT 60)
endfunction()
