# SPDX-License-Identifier: MIT
# What `cmake --install` puts where: libraries, header, CMake package,
# pkg-config file, man pages. Every path is relative to where the package is
# found, so an installed tree may be moved.

include(CMakePackageConfigHelpers)

install(
  TARGETS patas_shared patas_static
  EXPORT patasTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/include/patas.h"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

if(PATAS_SYMBOLS)
  # A file of its own: who wants the engine only needs no elfutils.
  install(
    TARGETS patas_symbols
    EXPORT patasSymbolsTargets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(FILES "${PROJECT_SOURCE_DIR}/include/patas/symbols.h"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/patas")
endif()

set(patas_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/patas")
install(
  EXPORT patasTargets
  NAMESPACE patas::
  DESTINATION "${patas_cmake_dir}")
if(PATAS_SYMBOLS)
  install(
    EXPORT patasSymbolsTargets
    NAMESPACE patas::
    DESTINATION "${patas_cmake_dir}")
endif()
configure_package_config_file(
  cmake/patasConfig.cmake.in "${PROJECT_BINARY_DIR}/patasConfig.cmake"
  INSTALL_DESTINATION "${patas_cmake_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/patasConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/patasConfig.cmake"
              "${PROJECT_BINARY_DIR}/patasConfigVersion.cmake"
        DESTINATION "${patas_cmake_dir}")

# An absolute prefix would be wrong after `cmake --install --prefix`.
set(patas_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(patas_pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(patas_pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
  file(RELATIVE_PATH patas_pc_up "/${patas_pc_dir}" "/")
  string(REGEX REPLACE "/$" "" patas_pc_up "${patas_pc_up}")
  set(patas_pc_prefix "\${pcfiledir}/${patas_pc_up}")
  set(patas_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(patas_pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  set(patas_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/patas.pc.in "${PROJECT_BINARY_DIR}/patas.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/patas.pc" DESTINATION "${patas_pc_dir}")
if(PATAS_SYMBOLS)
  configure_file(cmake/patas-symbols.pc.in
                 "${PROJECT_BINARY_DIR}/patas-symbols.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/patas-symbols.pc"
          DESTINATION "${patas_pc_dir}")
endif()

# A page answers to every name in its NAME section: the first by its own file,
# the others by a one-line page that includes it (man(1) follows it).
file(GLOB patas_pages CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/docs/man/*.[1-9]")
foreach(page IN LISTS patas_pages)
  get_filename_component(file "${page}" NAME)
  string(REGEX REPLACE "^.*\\." "" section "${file}")
  install(FILES "${page}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
  file(READ "${page}" text)
  string(REGEX REPLACE "\n\\.Sh SYNOPSIS.*" "" text "${text}")
  string(REGEX MATCHALL "\n\\.Nm [A-Za-z0-9_]+" names "${text}")
  foreach(name IN LISTS names)
    string(REGEX REPLACE "\n\\.Nm " "" name "${name}")
    set(other "${name}.${section}")
    if(NOT EXISTS "${PROJECT_SOURCE_DIR}/docs/man/${other}")
      file(WRITE "${PROJECT_BINARY_DIR}/man/${other}"
           ".so man${section}/${file}\n")
      install(FILES "${PROJECT_BINARY_DIR}/man/${other}"
              DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
    endif()
  endforeach()
endforeach()
