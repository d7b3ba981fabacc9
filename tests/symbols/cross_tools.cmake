# SPDX-License-Identifier: MIT
#
# The tools of the architecture that is built for, under the names that this
# machine's own have: samples and scripts ask for gcc, clang, strip, and get
# what makes and reads code for that one. `patas_tools` is the folder to look
# in first; it is empty where nothing is crossed.

set(patas_tools)

# What runs a target, for scripts: itself, or a script that calls an emulator.
function(patas_runs variable target)
  set(path "$<TARGET_FILE:${target}>")
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)
    set(path "${CMAKE_CURRENT_BINARY_DIR}/run-${target}")
    file(GENERATE OUTPUT "${path}"
         CONTENT "#!/bin/sh\nexec ${emulator} $<TARGET_FILE:${target}> \"$@\"\n"
         FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endif()
  set(${variable} "${path}" PARENT_SCOPE)
endfunction()

if(NOT CMAKE_CROSSCOMPILING)
  return()
endif()
set(patas_tools "${CMAKE_CURRENT_BINARY_DIR}/tools")
set(patas_triple "${CMAKE_C_COMPILER_TARGET}")
if(NOT patas_triple) # gcc has it in its name
  get_filename_component(patas_triple "${CMAKE_C_COMPILER}" NAME)
  string(REGEX REPLACE "-[a-z]+(-[0-9.]+)?$" "" patas_triple "${patas_triple}")
endif()

function(patas_tool name words)
  file(WRITE "${patas_tools}/${name}" "#!/bin/sh\nexec ${words}\n")
  file(CHMOD "${patas_tools}/${name}" PERMISSIONS OWNER_READ OWNER_WRITE
                                                  OWNER_EXECUTE)
endfunction()

# Programs find the dynamic linker and the libraries of that architecture.
set(linking "\"$@\" ${CMAKE_EXE_LINKER_FLAGS}")
foreach(tool gcc g++)
  patas_tool(${tool} "${patas_triple}-${tool} ${linking}")
endforeach()
foreach(tool clang clang++)
  find_program(patas_own_${tool} ${tool})
  if(patas_own_${tool})
    patas_tool(
      ${tool}
      "'${patas_own_${tool}}' --target=${patas_triple} -Wno-unused-command-line-argument ${linking}"
    )
  endif()
endforeach()
# Skips itself where Rust's own library is not there for that architecture.
find_program(patas_own_rustc rustc)
if(patas_own_rustc)
  string(REPLACE "-linux" "-unknown-linux" target "${patas_triple}")
  patas_tool(
    rustc
    "'${patas_own_rustc}' --target=${target} '-Clinker=${patas_tools}/gcc' \"$@\""
  )
endif()
foreach(tool ar nm objcopy readelf strip)
  patas_tool(${tool} "${patas_triple}-${tool} \"$@\"")
endforeach()
