# SPDX-License-Identifier: MIT
#
# The target `patas_oracles`: Zydis and Capstone, the newest that the
# registries serve, else Debian's; and the code that asks them. No target if
# there are none.

if(TARGET patas_oracles)
  return()
endif()
find_library(PATAS_ELF elf)
if(NOT PATAS_ELF)
  return()
endif()
option(PATAS_NEWEST_ORACLES "Fetch Zydis and Capstone by cargo and pip" ON)
# Fetched once, for all builds.
if(DEFINED ENV{XDG_CACHE_HOME})
  set(oracles "$ENV{XDG_CACHE_HOME}/patas-oracles")
elseif(DEFINED ENV{HOME})
  set(oracles "$ENV{HOME}/.cache/patas-oracles")
else()
  set(oracles "${CMAKE_BINARY_DIR}/oracles")
endif()
set(fetched 1)
if(PATAS_NEWEST_ORACLES)
  execute_process(COMMAND "${CMAKE_CURRENT_LIST_DIR}/../../scripts/oracles"
                          "${oracles}" RESULT_VARIABLE fetched)
endif()
if(fetched EQUAL 0)
  add_library(patas_oracles INTERFACE)
  target_include_directories(patas_oracles SYSTEM BEFORE
                             INTERFACE "${oracles}/include")
  target_compile_definitions(patas_oracles INTERFACE ZYDIS_STATIC_BUILD
                                                     ZYCORE_STATIC_BUILD)
  target_link_libraries(
    patas_oracles INTERFACE "${oracles}/lib/libZydis.a"
                            "${oracles}/lib/libcapstone.so" "${PATAS_ELF}")
  target_link_options(patas_oracles INTERFACE "-Wl,-rpath,${oracles}/lib")
else()
  find_library(PATAS_ZYDIS Zydis)
  find_library(PATAS_CAPSTONE capstone)
  if(PATAS_ZYDIS AND PATAS_CAPSTONE)
    add_library(patas_oracles INTERFACE)
    target_link_libraries(patas_oracles INTERFACE "${PATAS_ZYDIS}"
                                        "${PATAS_CAPSTONE}" "${PATAS_ELF}")
  endif()
endif()
