/* SPDX-License-Identifier: MIT */
/*
 * A module without a file, as it lies in memory: its exported functions are
 * found, and tables that lie are left alone. The module is made by hand.
 */
#include "internal.h"

#include "live/expect.h"

#include <sys/mman.h>

static const char names[] = "\0one\0two";

enum {
    PAGE = 4096,
    BUCKETS = 1,
    FIRST = 1, /* symbol that the hash table knows */
    COUNT = 3  /* symbols, with the one that means nothing */
};

/* One page, behind which nothing is mapped. */
static struct made {
    ElfW(Dyn) dynamic[8];
    ElfW(Sym) symbols[COUNT];
    char names[sizeof names];
    /* DT_GNU_HASH: buckets, first symbol, words of the filter, its shift */
    uint32_t head[4] __attribute__((aligned(8)));
    ElfW(Addr) bloom[1];
    uint32_t buckets[BUCKETS];
    uint32_t chain[COUNT - FIRST];
    uint32_t hash[8]; /* DT_HASH, if it is that kind */
} * made;

static ElfW(Phdr) phdr[2];
static struct patas__module module;

static uint64_t place(const void *member)
{
    return (uint64_t)((const uint8_t *)member - (const uint8_t *)made);
}

static void put(size_t at, ElfW(Sword) tag, uint64_t value)
{
    made->dynamic[at].d_tag = tag;
    made->dynamic[at].d_un.d_val = (ElfW(Addr))value;
}

static void make(void)
{
    uint8_t *room = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(room, MAP_FAILED);
    ck_assert_int_eq(munmap(room + PAGE, PAGE), 0);
    made = (struct made *)(void *)(room + PAGE - sizeof *made);
    memcpy(made->names, names, sizeof names);
    for (int i = 1; i < COUNT; i++)
        made->symbols[i] =
            (ElfW(Sym)){.st_name = i == 1 ? 1 : 5,
                        .st_info = GELF_ST_INFO(STB_GLOBAL, STT_FUNC),
                        .st_shndx = 1,
                        .st_value = (ElfW(Addr))i,
                        .st_size = 1};
    put(0, DT_SYMTAB, place(made->symbols));
    put(1, DT_STRTAB, place(made->names));
    put(2, DT_STRSZ, sizeof made->names);
    put(3, DT_GNU_HASH, place(made->head));
    made->head[0] = BUCKETS;
    made->head[1] = FIRST;
    made->head[2] = 1;
    made->buckets[0] = FIRST;
    made->chain[COUNT - FIRST - 1] = 1; /* ends here */
    phdr[0] = (ElfW(Phdr)){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_X,
                           .p_filesz = sizeof *made,
                           .p_memsz = sizeof *made};
    phdr[1] = (ElfW(Phdr)){.p_type = PT_DYNAMIC,
                           .p_vaddr = (ElfW(Addr))place(made->dynamic),
                           .p_filesz = sizeof made->dynamic,
                           .p_memsz = sizeof made->dynamic};
    module = (struct patas__module){
        .bias = (uintptr_t)made, .phdr = phdr, .phdr_count = 2, .fd = -1};
}

static uint32_t functions(void)
{
    patas__module_read_memory(&module);
    free(module.symbols);
    module.symbols = NULL;
    uint32_t count = module.count;
    module.count = module.capacity = 0;
    return count;
}

START_TEST(what_a_mapped_module_exports)
{
    make();
    ck_assert_uint_eq(functions(), COUNT - 1);
    make(); /* addresses that the loader has relocated */
    put(0, DT_SYMTAB, module.bias + place(made->symbols));
    put(1, DT_STRTAB, module.bias + place(made->names));
    put(3, DT_GNU_HASH, module.bias + place(made->head));
    ck_assert_uint_eq(functions(), COUNT - 1);
    make();
    put(3, DT_HASH, place(made->hash));
    made->hash[1] = COUNT;
    ck_assert_uint_eq(functions(), COUNT - 1);
}
END_TEST

/* Numbers of which four, eight or sixteen times are small in 32 bits. */
static const uint32_t large[] = {0x40000000, 0x40000001, 0x20000001,
                                 0x10000001, 0x80000001, 0xffffffff};

START_TEST(tables_that_are_larger_than_the_module_are_left_alone)
{
    make();
    made->head[0] = large[_i]; /* buckets */
    ck_assert_uint_eq(functions(), 0);
    make();
    made->head[2] = large[_i]; /* words of the filter */
    ck_assert_uint_eq(functions(), 0);
    make();
    made->buckets[0] = large[_i]; /* a symbol */
    ck_assert_uint_eq(functions(), 0);
    make();
    put(3, DT_HASH, place(made->hash));
    made->hash[1] = large[_i]; /* symbols */
    ck_assert_uint_eq(functions(), 0);
    make();
    put(2, DT_STRSZ, large[_i]);
    ck_assert_uint_eq(functions(), 0);
    make();
    for (size_t at = 0; at < 4; at++) {
        make();
        made->dynamic[at].d_un.d_val = large[_i];
        ck_assert_uint_eq(functions(), 0);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, what_a_mapped_module_exports);
    tcase_add_loop_test(tests,
                        tables_that_are_larger_than_the_module_are_left_alone,
                        0, sizeof large / sizeof *large);
}

EXPECT_MAIN("memory", add_tests)
