# SPDX-License-Identifier: MIT
#
# AArch64 programs, built by Debian's cross compiler and run by qemu-user with
# the libraries that came with it, or with those of a Debian for arm64: what is
# unpacked by scripts/foreign below foreign/ in the build directory comes first.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)

# "max" has what no machine at hand has: BTI and PAC (by a quick function, since
# the architecture's own takes most of the emulator's time).
set(patas_libraries /usr/aarch64-linux-gnu)
set(patas_foreign "${CMAKE_BINARY_DIR}/foreign")
set(patas_root ${patas_libraries})
if(EXISTS "${patas_foreign}/lib/ld-linux-aarch64.so.1")
  set(patas_root "${patas_foreign}")
endif()
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max,pauth-impdef=on -L
                                  "${patas_root}")

# Where packages keep the headers that are an architecture's own.
foreach(language C CXX)
  set(CMAKE_${language}_FLAGS_INIT
      "-isystem ${patas_foreign}/usr/include/aarch64-linux-gnu")
endforeach()

# DT_RPATH, since DT_RUNPATH says nothing of what a library needs itself.
string(
  CONCAT CMAKE_EXE_LINKER_FLAGS_INIT
         "-Wl,--disable-new-dtags,-rpath,"
         "${patas_foreign}/lib/aarch64-linux-gnu:"
         "${patas_foreign}/usr/lib/aarch64-linux-gnu:${patas_libraries}/lib")

set(CMAKE_FIND_ROOT_PATH ${patas_libraries} "${patas_foreign}")
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# A trial of a compiler reads this file, too, with a directory of its own.
get_property(patas_trial GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT patas_trial)
  set(ENV{PKG_CONFIG_LIBDIR}
      "${patas_foreign}/usr/lib/aarch64-linux-gnu/pkgconfig:${patas_foreign}/usr/share/pkgconfig"
  )
  set(ENV{PKG_CONFIG_SYSROOT_DIR} "${patas_foreign}")
endif()
