# Warnings, sanitizers and the two functions every folder uses: outrigger_module and outrigger_test.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_program(OUTRIGGER_CCACHE ccache)
if(OUTRIGGER_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${OUTRIGGER_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${OUTRIGGER_CCACHE})
endif()

add_library(outrigger_flags INTERFACE)
target_compile_options(outrigger_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror>)
target_include_directories(outrigger_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(outrigger_flags INTERFACE $<$<CONFIG:Debug>:OUTRIGGER_DEBUG_CHECKS=1>)
if(OUTRIGGER_SANITIZE)
  add_compile_options(-fsanitize=${OUTRIGGER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${OUTRIGGER_SANITIZE})
  add_compile_definitions(OUTRIGGER_DEBUG_CHECKS=1)
  # gcc reports false positives of these kinds once sanitizers have changed its flow analysis.
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
endif()
if(OUTRIGGER_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of the modules steers the engine
endif()

# outrigger_module(NAME SOURCES file... [DEPS target...] [PRIVATE_DEPS target...])
# One static library per folder of bridge/; its namespace and include path are the folder's name.
function(outrigger_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(outrigger_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(outrigger_${name} PUBLIC outrigger_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# outrigger_test(NAME SOURCES file... DEPS target... [LABELS label])
# One GoogleTest binary; each is one CTest entry, so that `ctest -j` and labels (unit, integration, ...) work on binaries.
function(outrigger_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM outrigger_test_pch)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(OUTRIGGER_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
  outrigger_test_needs(${ARG_LABEL} ${name})
endfunction()

# outrigger_test_needs(LABEL target...): what the tests of a label need built; scripts/test builds tests_LABEL.
function(outrigger_test_needs label)
  if(NOT TARGET tests_${label})
    add_custom_target(tests_${label})
  endif()
  add_dependencies(tests_${label} ${ARGN})
endfunction()
