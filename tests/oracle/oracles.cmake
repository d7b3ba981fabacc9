# SPDX-License-Identifier: MIT
#
# The target `patas_oracles`: Zydis and Capstone, the newest that the
# registries serve, else Debian's; the disassembler of binutils for AArch64; and
# the code that asks them. No target if the first two aren't there.

# They know every instruction set, and are asked on the machine's own.
if(TARGET patas_oracles OR CMAKE_CROSSCOMPILING)
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
if(NOT TARGET patas_oracles)
  return()
endif()

# The cross binutils bring it as a library, binutils-dev its header.
find_path(PATAS_DIS_ASM dis-asm.h)
file(GLOB opcodes /usr/lib/*/libopcodes-*-arm64.so)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  file(GLOB opcodes /usr/lib/*/libopcodes-*-system.so)
endif()
if(PATAS_DIS_ASM AND opcodes)
  list(GET opcodes -1 opcodes)
  string(REPLACE libopcodes libbfd bfd "${opcodes}")
  string(REGEX REPLACE ".*libopcodes-([0-9.]+)-.*" "\\1" version "${opcodes}")
  target_link_libraries(patas_oracles INTERFACE "${opcodes}" "${bfd}")
  target_compile_definitions(patas_oracles
                             INTERFACE COMPARE_BINUTILS="${version}")
  set(aarch64 compare_aarch64.c)
else()
  set(aarch64 compare_aarch64_none.c)
endif()
foreach(source compare.c sweep.c ${aarch64})
  target_sources(patas_oracles INTERFACE "${CMAKE_CURRENT_LIST_DIR}/${source}")
endforeach()
