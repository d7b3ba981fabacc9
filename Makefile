# SPDX-License-Identifier: MIT
#
#     make demo     build, and show what patas does
#     make check    all tests
#
# Both install what is missing first (scripts/setup). The build itself is
# CMake's; `make build` leaves it in build/, the other presets in build-*/.

JOBS ?= $(shell nproc)
CTEST = ctest --output-on-failure --no-tests=error -j $(JOBS)
# The kinds of test that run under every compiler; oracles and packages once.
KINDS = '^(unit|golden|exec|live|fault|symbols)$$'
NO_FAULT = '^(unit|golden|exec|live|symbols)$$'
PURE = '^(unit|golden|exec)$$'

.PHONY: build setup demo check check-clang check-asan check-unity check-fuzz \
	check-i386 check-aarch64 format tidy clean

build:
	cmake --preset release
	cmake --build build -j $(JOBS)

setup:
	@scripts/setup

demo: setup
	@cmake --preset release >/dev/null
	@cmake --build build -j $(JOBS) >/dev/null || cmake --build build
	build/examples/essay
	scripts/demo
	build/bench/torture 3

# Whatever is quick to fail comes first, the whole of the tests last.
check: setup
	scripts/check-format
	cmake --preset release -DPATAS_WERROR=ON
	cmake --build build -j $(JOBS)
	$(MAKE) check-unity check-clang check-asan check-fuzz check-i386 \
	    check-aarch64
	$(CTEST) --test-dir build

# The engine as one file compiles, and still works.
check-unity:
	cmake --preset unity
	cmake --build build-unity -j $(JOBS)
	build-unity/examples/essay | diff -u examples/essay.out -

# (What a failing system call leaves behind is no matter of the compiler.)
check-clang:
	cmake --preset clang
	cmake --build build-clang -j $(JOBS)
	$(CTEST) --test-dir build-clang -L $(NO_FAULT)

# ASan and UBSan on the pure stages, UBSan on what patches itself.
check-asan:
	cmake --preset asan
	cmake --build build-asan -j $(JOBS)
	$(CTEST) --test-dir build-asan -L $(KINDS)

# In 32 bits: on a kernel for x86-64, which runs both. The other compiler and
# the sanitizers see the pure stages there.
check-i386:
	@if ! command -v i686-linux-gnu-gcc >/dev/null; then \
	    echo "check-i386: skipped: there is no i686-linux-gnu-gcc"; \
	elif [ "$$(uname -m)" != x86_64 ]; then \
	    echo "check-i386: skipped: this is no x86-64"; \
	else \
	    set -ex; \
	    scripts/foreign i386 build-i386/foreign \
	        check libsubunit0 libsubunit-dev libelf1 libelf-dev \
	        libdw1 libdw-dev zlib1g zlib1g-dev liblzma5 liblzma-dev \
	        libbz2-1.0; \
	    cmake --preset i386; \
	    cmake --build build-i386 -j $(JOBS); \
	    $(CTEST) --test-dir build-i386 -L $(KINDS); \
	    for other in i386-clang i386-asan; do \
	        cmake --preset $$other; \
	        cmake --build build-$$other -j $(JOBS); \
	        $(CTEST) --test-dir build-$$other -L $(PURE) -E aarch64; \
	    done; \
	fi

# Built by the cross compiler, run by qemu-user.
check-aarch64:
	@if ! command -v aarch64-linux-gnu-g++ >/dev/null || \
	    ! command -v qemu-aarch64 >/dev/null; then \
	    echo "check-aarch64: skipped: there is no compiler or no emulator"; \
	else \
	    set -ex; \
	    scripts/foreign arm64 build-aarch64/foreign \
	        check libsubunit0 libsubunit-dev \
	        libc6 libc6-dbg libgcc-s1 libstdc++6 zlib1g zlib1g-dev \
	        libelf1 libelf-dev libdw1 libdw-dev \
	        libbz2-1.0 libbz2-dev liblzma5 liblzma-dev; \
	    cmake --preset aarch64; \
	    cmake --build build-aarch64 -j $(JOBS); \
	    $(CTEST) --test-dir build-aarch64 -L $(KINDS); \
	fi

# The committed corpus, and as many random changes of it as a minute allows.
check-fuzz:
	cmake --preset fuzz
	cmake --build build-fuzz -j $(JOBS)
	$(CTEST) --test-dir build-fuzz

format:
	scripts/check-format --fix

tidy:
	cmake --preset clang
	clang-tidy -p build-clang --quiet $$(find engine -name '*.c')
	cppcheck --enable=warning,performance --inline-suppr --quiet \
		--error-exitcode=1 -Iinclude -Iengine engine

clean:
	rm -rf build build-*
