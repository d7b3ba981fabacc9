/* SPDX-License-Identifier: MIT */
/*
 * os.h for Linux, by raw system calls; what is the processor's is in host.h.
 *
 * Nothing is kept open between calls: a program may close every descriptor it
 * finds, and after a fork /proc/self/mem of the parent would still be the
 * parent's memory.
 */
#include "../../os.h"
#include "../../host.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>

/* Values of the kernel's interface that the oldest supported headers lack. */
enum {
    MEMBARRIER_SYNC_CORE_ = 1 << 5,
    MEMBARRIER_REGISTER_SYNC_CORE_ = 1 << 6,
    FUTEX_WAIT_PRIVATE_ = 128,
    FUTEX_WAKE_PRIVATE_ = 129,
    MAP_PRIVATE_ = 0x02,
    MAP_ANONYMOUS_ = 0x20,
    MAP_NORESERVE_ = 0x4000,
    MAP_POPULATE_ = 0x8000,
    MAP_FIXED_NOREPLACE_ = 0x100000,
    MREMAP_MAYMOVE_ = 1,
    MREMAP_FIXED_ = 2,
    PR_GET_AUXV_ = 0x41555856,
    RLIMIT_STACK_ = 3
};
/* Where there are two, the older one takes a structure. */
#ifdef __NR_mmap2
#define OS_NR_MMAP __NR_mmap2 /* counts in pages; ours is always 0 */
#else
#define OS_NR_MMAP __NR_mmap
#endif
enum {
    OS_E_NOENT = 2,
    OS_E_INTR = 4,
    OS_E_NOMEM = 12,
    OS_E_FAULT = 14,
    OS_E_EXIST = 17,
    OS_E_INVAL = 22,
    OS_E_NOSYS = 38
};

static int as_errno(long result)
{
    return result < 0 && result > -4096 ? (int)-result : 0;
}

int patas__os_pid(void)
{
    return (int)patas__syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
}

int patas__os_tid(void)
{
    return (int)patas__syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
}

size_t patas__os_page(void)
{
    enum {
        AT_PAGESZ_ = 6,
        SMALLEST = 4096
    };
    static size_t page;
    if (!page)
        page = patas__os_auxv(AT_PAGESZ_);
    if (!page)
        page = SMALLEST;
    return page;
}

int patas__os_map(size_t size, int prot, void **memory)
{
    int flags = MAP_PRIVATE_ | MAP_ANONYMOUS_;
    flags |= prot & PATAS__SOON ? MAP_POPULATE_ : 0;
    long got = patas__syscall(OS_NR_MMAP, 0, (long)size, prot & ~PATAS__SOON,
                              flags, -1, 0);
    *memory = as_errno(got) ? NULL : (void *)got;
    return as_errno(got);
}

int patas__os_map_at(uintptr_t address, size_t size, int prot)
{
    int flags = MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_NORESERVE_;
    long got = patas__syscall(OS_NR_MMAP, (long)address, (long)size, prot,
                              flags | MAP_FIXED_NOREPLACE_, -1, 0);
    if (as_errno(got))
        return as_errno(got);
    if ((uintptr_t)got == address)
        return 0;
    /* Kernels before 4.17 take the address for a hint. */
    patas__syscall(__NR_munmap, got, (long)size, 0, 0, 0, 0);
    return OS_E_EXIST;
}

int patas__os_unmap(void *memory, size_t size)
{
    return as_errno(
        patas__syscall(__NR_munmap, (long)memory, (long)size, 0, 0, 0, 0));
}

int patas__os_protect(void *memory, size_t size, int prot)
{
    return as_errno(
        patas__syscall(__NR_mprotect, (long)memory, (long)size, prot, 0, 0, 0));
}

int patas__os_move(void *memory, size_t size, uintptr_t to)
{
    long got = patas__syscall(__NR_mremap, (long)memory, (long)size, (long)size,
                              MREMAP_MAYMOVE_ | MREMAP_FIXED_, (long)to, 0);
    return as_errno(got);
}

int patas__os_close(int fd)
{
    return as_errno(patas__syscall(__NR_close, fd, 0, 0, 0, 0, 0));
}

static int open_file(const char *path, int flags, int *fd)
{
    long got = patas__syscall(__NR_openat, AT_FDCWD, (long)path,
                              flags | O_CLOEXEC, 0, 0, 0);
    *fd = (int)got;
    return as_errno(got);
}

/* ---- mappings -------------------------------------------------------- */

/* PROCMAP_QUERY, Linux 6.11: one mapping without reading the whole text. */
struct procmap_query_ {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
enum {
    QUERY_NEXT = 0x10,
    QUERY_SHARED = 0x08
};
#define PROCMAP_QUERY_ ((long)0xc0686611) /* _IOWR('f', 17, 104 bytes) */

static bool name_is(const char *name, const char *want)
{
    while (*want && *name == *want)
        name++, want++;
    return *want == '\0';
}

static void name_region(struct patas__region *region, const char *name)
{
    region->stack = name_is(name, "[stack");
    region->heap = name_is(name, "[heap]");
    region->vdso = name_is(name, "[vdso]") || name_is(name, "[vsyscall]") ||
                   name_is(name, "[vvar");
}

static int query_region(int fd, uintptr_t address, bool next,
                        struct patas__region *region)
{
    char name[64] = "";
    struct procmap_query_ query = {
        .size = sizeof query,
        .query_flags = next ? QUERY_NEXT : 0,
        .query_addr = address,
        .vma_name_addr = (uint64_t)(uintptr_t)name,
        .vma_name_size = sizeof name,
    };
    long got =
        patas__syscall(__NR_ioctl, fd, PROCMAP_QUERY_, (long)&query, 0, 0, 0);
    /* ENAMETOOLONG: a file whose path does not fit; no bracketed name does. */
    if (as_errno(got) == 36) {
        query.vma_name_addr = query.vma_name_size = 0;
        got = patas__syscall(__NR_ioctl, fd, PROCMAP_QUERY_, (long)&query, 0, 0,
                             0);
    }
    if (as_errno(got))
        return as_errno(got);
    *region = (struct patas__region){
        .start = (uintptr_t)query.vma_start,
        .end = (uintptr_t)query.vma_end,
        .inode = query.inode,
        .prot = (int)(query.vma_flags & 7),
        .shared = (query.vma_flags & QUERY_SHARED) != 0,
    };
    name_region(region, name);
    return 0;
}

/* /proc/self/maps, one byte at a time out of a small buffer. */
struct maps_reader {
    int fd;
    size_t at, filled;
    char buffer[1024];
};

static int maps_byte(struct maps_reader *reader)
{
    if (reader->at == reader->filled) {
        long got = patas__syscall(__NR_read, reader->fd, (long)reader->buffer,
                                  sizeof reader->buffer, 0, 0, 0);
        if (got <= 0)
            return -1;
        reader->filled = (size_t)got;
        reader->at = 0;
    }
    return (unsigned char)reader->buffer[reader->at++];
}

/* A number in `base`; `*end` is the byte behind it. */
static uint64_t maps_number(struct maps_reader *reader, unsigned base, int *end)
{
    uint64_t value = 0;
    for (;;) {
        int byte = maps_byte(reader);
        unsigned digit = byte >= '0' && byte <= '9'   ? (unsigned)(byte - '0')
                         : byte >= 'a' && byte <= 'f' ? (unsigned)(byte - 87)
                                                      : 99;
        if (digit >= base) {
            *end = byte;
            return value;
        }
        value = value * base + digit;
    }
}

/* One line: "start-end rwxp offset dev inode   name". */
static bool maps_line(struct maps_reader *reader, struct patas__region *region)
{
    int byte = 0;
    char name[16];
    size_t length = 0;
    *region = (struct patas__region){0};
    region->start = (uintptr_t)maps_number(reader, 16, &byte);
    if (byte != '-')
        return false;
    region->end = (uintptr_t)maps_number(reader, 16, &byte);
    region->prot |= maps_byte(reader) == 'r' ? PATAS__READ : 0;
    region->prot |= maps_byte(reader) == 'w' ? PATAS__WRITE : 0;
    region->prot |= maps_byte(reader) == 'x' ? PATAS__EXEC : 0;
    region->shared = maps_byte(reader) == 's';
    (void)maps_byte(reader);
    (void)maps_number(reader, 16, &byte); /* offset */
    (void)maps_number(reader, 16, &byte); /* major:minor */
    (void)maps_number(reader, 16, &byte);
    region->inode = maps_number(reader, 10, &byte);
    while (byte == ' ')
        byte = maps_byte(reader);
    for (; byte >= 0 && byte != '\n'; byte = maps_byte(reader))
        if (length < sizeof name - 1)
            name[length++] = (char)byte;
    name[length] = '\0';
    name_region(region, name);
    return true;
}

static int parse_region(int fd, uintptr_t address, bool next,
                        struct patas__region *region)
{
    struct maps_reader reader = {.fd = fd};
    while (maps_line(&reader, region)) {
        if (region->end <= address)
            continue;
        return next || region->start <= address ? 0 : OS_E_NOENT;
    }
    return OS_E_NOENT;
}

static int find_region(uintptr_t address, bool next,
                       struct patas__region *region)
{
    int fd;
    if (open_file("/proc/self/maps", O_RDONLY, &fd))
        return OS_E_NOSYS;
    int err = query_region(fd, address, next, region);
    if (err && err != OS_E_NOENT)
        err = parse_region(fd, address, next, region);
    patas__os_close(fd);
    return err;
}

int patas__os_region(uintptr_t address, struct patas__region *region)
{
    return find_region(address, false, region);
}

int patas__os_region_next(uintptr_t address, struct patas__region *region)
{
    return find_region(address, true, region);
}

/* One line, or as much of it as fits; false at the end. */
static bool maps_text(struct maps_reader *reader, char *text, size_t size)
{
    int byte = maps_byte(reader);
    size_t length = 0;
    if (byte < 0)
        return false;
    for (; byte >= 0 && byte != '\n'; byte = maps_byte(reader))
        if (length < size - 1)
            text[length++] = (char)byte;
    text[length] = '\0';
    return true;
}

static uintptr_t text_number(const char **text)
{
    uintptr_t value = 0;
    for (;; ++*text) {
        char c = **text;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* /proc/self/smaps: lines as in maps, and behind each the details, of which the
 * last is "VmFlags: rd ex mr mw me bt", two letters each. */
bool patas__os_guarded(uintptr_t address)
{
    struct maps_reader reader = {0};
    char line[256];
    bool here = false, guarded = false;
    if (open_file("/proc/self/smaps", O_RDONLY, &reader.fd))
        return false;
    while (maps_text(&reader, line, sizeof line)) {
        const char *text = line;
        if (here && name_is(line, "VmFlags:")) {
            for (text += 8; *text && !guarded; text++)
                guarded = name_is(text, " bt");
            break;
        }
        if (line[0] >= 'A' && line[0] <= 'Z')
            continue;
        uintptr_t start = text_number(&text);
        text += *text == '-';
        here = address >= start && address < text_number(&text);
    }
    patas__os_close(reader.fd);
    return guarded;
}

/* ---- memory ---------------------------------------------------------- */

int patas__os_mem_open(int *fd)
{
    return open_file("/proc/self/mem", O_RDWR, fd);
}

int patas__os_mem_write(int fd, uintptr_t address, const void *bytes,
                        size_t size)
{
    long got = patas__syscall(__NR_pwrite64, fd, (long)bytes, (long)size,
                              (long)address, 0, 0);
    if (as_errno(got))
        return as_errno(got);
    return (size_t)got == size ? 0 : OS_E_FAULT;
}

/* The kernel reads for us and answers EFAULT where we would fault. */
static int read_by_pipe(uintptr_t address, uint8_t *to, size_t size)
{
    int fds[2], err = 0;
    long got = patas__syscall(__NR_pipe2, (long)fds, O_CLOEXEC | O_NONBLOCK, 0,
                              0, 0, 0);
    if (as_errno(got))
        return as_errno(got);
    for (size_t done = 0; done < size && !err;) {
        size_t part = size - done < 1024 ? size - done : 1024;
        got = patas__syscall(__NR_write, fds[1], (long)(address + done),
                             (long)part, 0, 0, 0);
        if (got <= 0) {
            err = OS_E_FAULT;
            break;
        }
        got =
            patas__syscall(__NR_read, fds[0], (long)(to + done), got, 0, 0, 0);
        err = got > 0 ? 0 : OS_E_FAULT;
        done += (size_t)got;
    }
    patas__os_close(fds[0]);
    patas__os_close(fds[1]);
    return err;
}

int patas__os_read(uintptr_t address, void *to, size_t size)
{
    struct {
        void *base;
        size_t size;
    } local = {to, size}, remote = {(void *)address, size};
    long got = patas__syscall(__NR_process_vm_readv, patas__os_pid(),
                              (long)&local, 1, (long)&remote, 1, 0);
    if (got == (long)size)
        return 0;
    if (got >= 0 || as_errno(got) == OS_E_FAULT)
        return OS_E_FAULT;
    return read_by_pipe(address, to, size);
}

/* ---- cores and threads ------------------------------------------------ */

/*
 * Without membarrier: a core that switched to this thread and back has
 * serialised (Intel SDM vol. 3, 9.3: IRET), and so has every thread that ran
 * there before.
 */
static int visit_every_core(void)
{
    enum {
        CPUS = 8192
    };
    uint64_t before[CPUS / 64] = {0}, one[CPUS / 64];
    long size = patas__syscall(__NR_sched_getaffinity, 0, sizeof before,
                               (long)before, 0, 0, 0);
    if (as_errno(size))
        return as_errno(size);
    int err = OS_E_NOSYS;
    for (unsigned cpu = 0; cpu < (unsigned)size * 8; cpu++) {
        memset(one, 0, sizeof one);
        one[cpu / 64] = 1ULL << cpu % 64;
        int got = as_errno(patas__syscall(__NR_sched_setaffinity, 0, size,
                                          (long)one, 0, 0, 0));
        if (!got)
            err = 0;
        else if (got != OS_E_INVAL) { /* EINVAL: no such core is online */
            err = got;
            break;
        }
    }
    patas__syscall(__NR_sched_setaffinity, 0, size, (long)before, 0, 0, 0);
    return err;
}

int patas__os_sync_cores(void)
{
    long got =
        patas__syscall(__NR_membarrier, MEMBARRIER_SYNC_CORE_, 0, 0, 0, 0, 0);
    if (!got)
        return 0;
    /* EPERM: not registered, as in every new process. */
    got = patas__syscall(__NR_membarrier, MEMBARRIER_REGISTER_SYNC_CORE_, 0, 0,
                         0, 0, 0);
    if (!got)
        got = patas__syscall(__NR_membarrier, MEMBARRIER_SYNC_CORE_, 0, 0, 0, 0,
                             0);
    return got ? visit_every_core() : 0;
}

void patas__os_wait(int *word, int value)
{
    patas__syscall(__NR_futex, (long)word, FUTEX_WAIT_PRIVATE_, value, 0, 0, 0);
}

void patas__os_wake(int *word, int count)
{
    patas__syscall(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE_, count, 0, 0, 0);
}

void patas__os_sleep_us(unsigned microseconds)
{
    const long time[2] = {(long)(microseconds / 1000000),
                          (long)(microseconds % 1000000 * 1000)};
    patas__syscall(__NR_nanosleep, (long)time, 0, 0, 0, 0, 0);
}

/* ---- where the heap and the main stack grow ---------------------------- */

uintptr_t patas__os_auxv(unsigned type)
{
    uintptr_t auxv[2 * 64];
    long got = 0;
    /* A translator's own are not the program's; the file it makes up. */
    if (!patas__translated())
        got = patas__syscall(__NR_prctl, PR_GET_AUXV_, (long)auxv, sizeof auxv,
                             0, 0, 0);
    if (got <= 0) {
        int fd;
        if (open_file("/proc/self/auxv", O_RDONLY, &fd))
            return 0;
        got = patas__syscall(__NR_read, fd, (long)auxv, sizeof auxv, 0, 0, 0);
        patas__os_close(fd);
    }
    long words = got / (long)sizeof *auxv;
    for (long i = 0; i + 1 < words && i + 1 < 2 * 64; i += 2)
        if (auxv[i] == type)
            return auxv[i + 1];
    return 0;
}

void patas__os_growth(uintptr_t heap[2], uintptr_t stack[2])
{
    enum {
        AT_RANDOM_ = 25
    };
    const uintptr_t mib = 1u << 20;
#ifdef PATAS_FREESTANDING
    /* A blob's host may have no heap there at all. Where it does have one, of a
     * C library beside it, malloc takes other memory when it can't grow; and
     * half of all Go functions need an island 256 MB above them. */
    const uintptr_t room = 64;
#else
    const uintptr_t room = 1024;
#endif
    uint64_t limit[2] = {8 * mib, 0};

    heap[0] = (uintptr_t)patas__syscall(__NR_brk, 0, 0, 0, 0, 0, 0);
    heap[1] = heap[0] + room * mib;

    /* The kernel keeps 16 random bytes near the top of the main stack. */
    uintptr_t top = patas__os_auxv(AT_RANDOM_);
    patas__syscall(__NR_prlimit64, 0, RLIMIT_STACK_, 0, (long)limit, 0, 0);
    if (limit[0] > 1024 * mib) /* unlimited, too: assume a lot */
        limit[0] = 1024 * mib;
    stack[0] = top ? top - (uintptr_t)limit[0] - mib : 0;
    stack[1] = !top ? 0 : top + mib > top ? top + mib : UINTPTR_MAX;
}
