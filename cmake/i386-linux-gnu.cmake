# SPDX-License-Identifier: MIT
#
# 32-bit x86 programs, built by Debian's cross compiler. An x86-64 kernel runs
# them as they are, with the libraries that came with the compiler: no library
# of the machine's own is i386, and none is installed. What the tests need more
# is unpacked by scripts/foreign below foreign/ in the build directory.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR i386)
# Or clang, if the command line says so: it takes the same libraries.
if(NOT CMAKE_C_COMPILER)
  set(CMAKE_C_COMPILER i686-linux-gnu-gcc)
  set(CMAKE_CXX_COMPILER i686-linux-gnu-g++)
endif()
foreach(language ASM C CXX)
  set(CMAKE_${language}_COMPILER_TARGET i686-linux-gnu)
endforeach()

set(patas_libraries /usr/i686-linux-gnu/lib)
# try_compile() reads this file, too, in the same process but elsewhere.
get_property(patas_trying GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT patas_trying)
  set(patas_foreign "${CMAKE_BINARY_DIR}/foreign")
  if(PATAS_FOREIGN) # another build's
    set(patas_foreign "${PATAS_FOREIGN}")
  endif()
  set(ENV{PKG_CONFIG_SYSROOT_DIR} "${patas_foreign}")
  set(ENV{PKG_CONFIG_LIBDIR}
      "${patas_foreign}/usr/lib/i386-linux-gnu/pkgconfig:${patas_foreign}/usr/share/pkgconfig"
  )
endif()

# DT_RPATH, since DT_RUNPATH says nothing of what a library needs itself.
string(
  CONCAT CMAKE_EXE_LINKER_FLAGS_INIT
         "-Wl,--dynamic-linker=${patas_libraries}/ld-linux.so.2 "
         "-Wl,--disable-new-dtags,-rpath,${patas_libraries}")
if(patas_foreign)
  foreach(language C CXX)
    set(CMAKE_${language}_FLAGS_INIT
        "-isystem ${patas_foreign}/usr/include/i386-linux-gnu -isystem ${patas_foreign}/usr/include"
    )
  endforeach()
  foreach(folder usr/lib lib)
    string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT
           ":${patas_foreign}/${folder}/i386-linux-gnu")
  endforeach()
endif()

set(CMAKE_FIND_ROOT_PATH /usr/i686-linux-gnu "${patas_foreign}")
set(CMAKE_LIBRARY_ARCHITECTURE i386-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
