# SPDX-License-Identifier: MIT
# Warnings and sanitizers, as functions of a target: nothing leaks into a
# project that patas is a part of.

set(PATAS_WARNINGS_BOTH
    -Wall
    -Wextra
    -Wpedantic
    -Wshadow
    -Wundef
    -Wvla
    -Wwrite-strings
    -Wconversion)
set(PATAS_WARNINGS_C -Wstrict-prototypes -Wmissing-prototypes)

function(patas_warnings target)
  if(NOT PROJECT_IS_TOP_LEVEL)
    return()
  endif()
  target_compile_options(
    ${target}
    PRIVATE
      "$<$<COMPILE_LANGUAGE:C,CXX>:${PATAS_WARNINGS_BOTH}>"
      "$<$<COMPILE_LANGUAGE:C>:${PATAS_WARNINGS_C}>"
      # In one file a local of one source shadows a static of another.
      "$<$<AND:$<BOOL:${CMAKE_UNITY_BUILD}>,$<COMPILE_LANGUAGE:C>>:-Wno-shadow>"
      "$<$<AND:$<BOOL:${PATAS_WERROR}>,$<COMPILE_LANGUAGE:C,CXX>>:-Werror>")
endfunction()

# A patched function must not lie in an instrumented page-table of the
# sanitizer's own: address checks stay out of whatever writes code while it
# runs; the pure stages have all of them.
set(PATAS_SANITIZE_PURE "${PATAS_SANITIZE}")
string(REPLACE "," ";" patas__sanitizers "${PATAS_SANITIZE}")
list(REMOVE_ITEM patas__sanitizers address)
list(JOIN patas__sanitizers "," PATAS_SANITIZE_LIVE)

function(patas_sanitize target sanitizers)
  if(sanitizers)
    target_compile_options(
      ${target}
      PRIVATE
        "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${sanitizers};-fno-sanitize-recover=all;-fno-omit-frame-pointer>"
    )
    target_link_options(${target} PUBLIC "-fsanitize=${sanitizers}")
  endif()
endfunction()

# For engine/bytes.c: the bodies of memcpy and its family must not become calls
# of themselves.
set(PATAS_BYTES_OPTIONS
    -fno-builtin
    "$<$<C_COMPILER_ID:GNU>:-fno-tree-loop-distribute-patterns>")
