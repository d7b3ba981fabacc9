/* SPDX-License-Identifier: MIT */
/* Stubs are followed to the function they stand for, functions are not. */
#include "target.h"
#include "image_maker.h"
#include "image_support.h"
#include "machine.h"

#include <check.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAR_AWAY = 0x7f001230,
    SLOT = 24
};

static enum patas__followed step(const struct image_maker *maker,
                                 unsigned offset, bool jumps, uint64_t *next,
                                 const char **name)
{
    return patas__target_step(&maker->image, MAKER_CODE + offset, jumps, next,
                              name);
}

/* `jmp *data+SLOT(%rip)`, or `jmp *data+SLOT` in 32-bit code, at `offset` with
 * something in front. */
static void put_stub(struct image_maker *maker, unsigned offset,
                     const char *front, size_t size)
{
    uint8_t jump[6] = {0xff, 0x25};
    uint64_t slot = MAKER_DATA + SLOT;

    maker_code(maker, offset, front, size);
    offset += (unsigned)size;
    if (maker->image.isa->pointer_size == 8)
        slot -= MAKER_CODE + (uint64_t)offset + sizeof jump;
    patas__store32(jump + 2, (uint32_t)slot);
    maker_code(maker, offset, jump, sizeof jump);
}

static const struct {
    const char *front;
    size_t size;
} fronts[] = {
    {"", 0},                     /* .plt, .plt.got               */
    {"\xf2", 1},                 /* bnd                          */
    {"\xf3\x0f\x1e\xfa", 4},     /* endbr64: .plt.sec with IBT   */
    {"\xf3\x0f\x1e\xfa\xf2", 5}, /* endbr64, bnd                 */
};

START_TEST(a_bound_stub_leads_to_what_its_slot_holds)
{
    struct image_maker maker;
    uint64_t next;
    const char *name;

    maker_begin(&maker, &patas__isa_x86_64);
    put_stub(&maker, 0x20, fronts[_i].front, fronts[_i].size);
    maker_pointer(&maker, SLOT, FAR_AWAY);
    maker_reloc(&maker, SLOT, R_X86_64_GLOB_DAT,
                maker_symbol(&maker, 0, 0, STT_FUNC, 0, "read"), 0);
    maker_end(&maker);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_PLT);
    ck_assert_uint_eq(next, FAR_AWAY);
    ck_assert_ptr_null(name);
    /* A symbol that was never found is nowhere. */
    maker_pointer(&maker, SLOT, 0);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_PLT);
    ck_assert_uint_eq(next, 0);
    ck_assert_str_eq(name, "read");
}
END_TEST

static const struct patas__isa *const isas[] = {&patas__isa_x86_64,
                                                &patas__isa_i386};

/* jmp *slot; push $0 (also the byte offset of entry 0); jmp plt0 */
START_TEST(an_unbound_stub_tells_the_name)
{
    struct image_maker maker;
    uint64_t next;
    const char *name;

    maker_begin(&maker, isas[_i]);
    put_stub(&maker, 0x20, "", 0);
    maker_code(&maker, 0x26, "\x68\0\0\0\0\xe9\xd0\xff\xff\xff", 10);
    maker_pointer(&maker, SLOT, MAKER_CODE + 0x26);
    maker_reloc(&maker, SLOT, R_X86_64_JUMP_SLOT,
                maker_symbol(&maker, 0, 0, STT_FUNC, 0, "write"), 0);
    maker_end(&maker);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_PLT);
    ck_assert_uint_eq(next, 0);
    ck_assert_str_eq(name, "write");
    maker_pointer(&maker, SLOT, FAR_AWAY);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_PLT);
    ck_assert_uint_eq(next, FAR_AWAY);
    ck_assert_ptr_null(name);
    /* A slot may well hold a function of the same module. */
    maker_pointer(&maker, SLOT, MAKER_CODE + 0x100);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_PLT);
    ck_assert_uint_eq(next, MAKER_CODE + 0x100);
}
END_TEST

/* int f(void) { return ops.read(); } - the slot is the program's own. */
START_TEST(a_tail_call_through_data_is_not_followed)
{
    struct image_maker maker;
    uint64_t next;
    const char *name;

    maker_begin(&maker, isas[_i]);
    put_stub(&maker, 0x20, "", 0);
    maker_pointer(&maker, SLOT, FAR_AWAY);
    maker_reloc(&maker, SLOT, _i ? R_386_32 : R_X86_64_64,
                maker_symbol(&maker, 0, 0, STT_FUNC, 0, "read"), 0);
    maker_reloc(&maker, SLOT - 8, R_X86_64_GLOB_DAT, 1, 0);
    maker_reloc(&maker, SLOT + 8, R_X86_64_GLOB_DAT, 1, 0);
    maker_end(&maker);
    ck_assert_uint_le(maker.image.plt_got_start, MAKER_DATA + SLOT);
    ck_assert_uint_gt(maker.image.plt_got_end, MAKER_DATA + SLOT);
    ck_assert_int_eq(step(&maker, 0x20, true, &next, &name),
                     PATAS__FOLLOWED_NOTHING);
    ck_assert_uint_eq(next, 0);
}
END_TEST

/* void f(void *p) { g_object_unref(p); } compiled with -fno-plt. */
START_TEST(a_function_that_looks_like_a_stub_is_none)
{
    static const struct {
        unsigned described, symbol;
        enum patas__followed want;
    } cases[] = {
        {0, 0, PATAS__FOLLOWED_PLT},      /* lld describes no stubs     */
        {6, 0, PATAS__FOLLOWED_NOTHING},  /* f, static or stripped      */
        {8, 0, PATAS__FOLLOWED_PLT},      /* a .plt.got of one stub     */
        {32, 0, PATAS__FOLLOWED_PLT},     /* a .plt.sec of two          */
        {0, 6, PATAS__FOLLOWED_NOTHING},  /* f, exported, -fno-unwind.. */
        {32, 6, PATAS__FOLLOWED_NOTHING}, /* f, in assembly             */
    };
    struct image_maker maker;
    uint64_t next;
    const char *name;

    maker_begin(&maker, &patas__isa_x86_64);
    put_stub(&maker, 0x20, "", 0);
    maker_pointer(&maker, SLOT, FAR_AWAY);
    maker_reloc(&maker, SLOT, R_X86_64_GLOB_DAT,
                maker_symbol(&maker, 0, 0, STT_FUNC, 0, "g_object_unref"), 0);
    if (cases[_i].described)
        maker_frame(&maker, 0x20, cases[_i].described);
    if (cases[_i].symbol)
        maker_symbol(&maker, 0x20, cases[_i].symbol, STT_FUNC, 1, "f");
    maker_end(&maker);
    ck_assert_int_eq(step(&maker, 0x20, true, &next, &name), cases[_i].want);
    ck_assert_uint_eq(next,
                      cases[_i].want == PATAS__FOLLOWED_PLT ? FAR_AWAY : 0);
}
END_TEST

START_TEST(a_lone_jump_is_followed_when_asked)
{
    static const struct {
        uint8_t code[10];
        unsigned size, described;
        bool lone;
    } cases[] = {
        {{0xe9, 0xfb, 0x00, 0x00, 0x00}, 5, 5, true}, /* jmp 120          */
        {{0xeb, 0x30}, 2, 2, true},                   /* jmp 52           */
        {{0xf3, 0x0f, 0x1e, 0xfa, 0xeb, 0x30}, 6, 6, true},  /* endbr64, jmp */
        {{0xeb, 0x01, 0x90, 0x31, 0xc0, 0xc3}, 6, 6, false}, /* a loop's end */
        {{0xeb, 0x30, 0x31, 0xc0, 0xc3}, 5, 5, false}, /* more behind it */
        {{0xeb, 0xfe}, 2, 2, false},                   /* for (;;) ;       */
        {{0x90, 0xeb, 0x30}, 3, 3, false},             /* more than that   */
        {{0x74, 0x30}, 2, 2, false},                   /* je               */
        {{0xe8, 0xfb, 0x00, 0x00, 0x00}, 5, 5, false}, /* call             */
    };
    struct image_maker maker;
    uint64_t next;
    const char *name;

    maker_begin(&maker, &patas__isa_x86_64);
    maker_code(&maker, 0x20, cases[_i].code, cases[_i].size);
    maker_frame(&maker, 0x20, cases[_i].described);
    maker_end(&maker);
    ck_assert_int_eq(step(&maker, 0x20, true, &next, &name),
                     cases[_i].lone ? PATAS__FOLLOWED_JUMP
                                    : PATAS__FOLLOWED_NOTHING);
    ck_assert_int_eq(next != 0, cases[_i].lone);
    ck_assert_int_eq(step(&maker, 0x20, false, &next, &name),
                     PATAS__FOLLOWED_NOTHING);
    ck_assert_uint_eq(next, 0);
}
END_TEST

START_TEST(an_ifunc_is_found_where_it_was_bound)
{
    struct image_maker maker, other;
    const struct patas__image *images[] = {&other.image, &maker.image};
    const uint64_t resolver = MAKER_CODE + 0x40;
    uint64_t next;
    const char *name;

    maker_begin(&other, &patas__isa_x86_64);
    other.image.segments[0].address += 0x100000; /* another place */
    maker_begin(&maker, &patas__isa_x86_64);
    maker_symbol(&maker, 0x40, 9, STT_GNU_IFUNC, 1, "memcpy");
    maker_symbol(&maker, 0x80, 9, STT_FUNC, 1, "plain");
    maker_pointer(&maker, 8, resolver);
    maker_reloc(&maker, 8, R_X86_64_IRELATIVE, 0, resolver - MAKER_BIAS);
    maker_pointer(&maker, 16, MAKER_CODE + 0x100);
    maker_reloc(&maker, 16, R_X86_64_JUMP_SLOT, 1, 0);
    maker_end(&maker);
    maker_end(&other);
    ck_assert_int_eq(
        patas__target_step(&maker.image, resolver, true, &next, &name),
        PATAS__FOLLOWED_IFUNC);
    ck_assert_uint_eq(next, 0);
    ck_assert_str_eq(name, "memcpy");
    ck_assert_int_eq(step(&maker, 0x80, true, &next, &name),
                     PATAS__FOLLOWED_NOTHING);
    /* The first slot isn't filled in yet; the one by name is. */
    ck_assert_uint_eq(patas__target_ifunc(images, 2, resolver),
                      MAKER_CODE + 0x100);
    maker_pointer(&maker, 8, MAKER_CODE + 0x200);
    ck_assert_uint_eq(patas__target_ifunc(images, 2, resolver),
                      MAKER_CODE + 0x200);
    /* Nobody knows: a slot that leads out of all modules is no answer. */
    maker_pointer(&maker, 8, FAR_AWAY);
    maker_pointer(&maker, 16, FAR_AWAY);
    ck_assert_uint_eq(patas__target_ifunc(images, 2, resolver), 0);
}
END_TEST

/* What a real library's stubs are bound to is what dlsym() finds. */
START_TEST(real_stubs_lead_where_the_loader_says)
{
    size_t stubs = 0, right = 0;
    struct patas__image image;
    struct patas__symbol symbol;

    ck_assert(image_of_process("libcrypto.so.3", &image, NULL) ||
              image_of_process("libstdc++.so.6", &image, NULL) ||
              image_of_process("libm.so.6", &image, NULL));
    const struct patas__segment *code = NULL;
    for (unsigned i = 0; i < image.segment_count; i++)
        code = image.segments[i].executable ? &image.segments[i] : code;
    ck_assert_ptr_nonnull(code);
    for (uint64_t at = 0; at + 16 <= code->size && at < 0x10000; at += 8) {
        struct patas__reloc reloc;
        uint64_t next, slot, size;
        const char *name;
        if (patas__target_step(&image, code->address + at, false, &next,
                               &name) != PATAS__FOLLOWED_PLT)
            continue;
        stubs++;
        if (!next) { /* not bound yet */
            right += name && dlsym(RTLD_DEFAULT, name);
            continue;
        }
        ck_assert(patas__target_stub(&image, code->address + at, &slot, &size));
        for (uint64_t k = 0; patas__image_reloc(&image, 0, k, &reloc); k++) {
            if (reloc.address == slot && reloc.symbol &&
                patas__image_symbol(&image, reloc.symbol, &symbol))
                right += dlsym(RTLD_DEFAULT,
                               patas__image_name(&image, symbol.name)) ==
                         (void *)(uintptr_t)next;
        }
    }
    printf("%zu stubs, %zu as dlsym() says\n", stubs, right);
    ck_assert_uint_gt(stubs, 20);
    ck_assert_uint_ge(right, stubs / 2);
}
END_TEST

/* memcpy of a C library: never called, but read out of somebody's GOT. */
START_TEST(the_real_implementation_of_memcpy_is_found)
{
    static struct patas__image images[LENGTH(image_libraries)];
    const struct patas__image *all[LENGTH(image_libraries)];
    unsigned count = 0, ifuncs = 0, found = 0, right = 0;
    struct patas__symbol symbol;
    void *libc = dlopen("libc.so.6", RTLD_NOW);

    for (size_t i = 0; i < LENGTH(image_libraries); i++) {
        if (image_of_process(image_libraries[i], &images[count], NULL)) {
            all[count] = &images[count];
            count++;
        }
    }
    for (uint64_t i = 0; patas__image_symbol(all[0], i, &symbol); i++) {
        uint64_t next;
        const char *name;
        if (symbol.type != STT_GNU_IFUNC || !symbol.defined)
            continue;
        ifuncs++;
        ck_assert_int_eq(
            patas__target_step(all[0], symbol.address, false, &next, &name),
            PATAS__FOLLOWED_IFUNC);
        uint64_t got = patas__target_ifunc(all, count, symbol.address);
        if (!got)
            continue;
        found++;
        ck_assert_uint_ne(got, symbol.address);
        right += dlsym(libc, name) == (void *)(uintptr_t)got;
    }
    printf("%u IFUNC symbols, %u found, %u as dlsym() says\n", ifuncs, found,
           right);
    ck_assert_uint_gt(ifuncs, 20);
    /* On i386 the slot of an IRELATIVE relocation no longer tells whom the
     * loader asked, and those by name lead to the sanitizer if there is one. */
#if defined(__x86_64__) || !defined(__SANITIZE_ADDRESS__)
    ck_assert_uint_gt(found, ifuncs / MACHINE(2, 4));
#endif
    ck_assert_uint_eq(right, found);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("target");
    TCase *made = tcase_create("made"), *real = tcase_create("libraries");

    tcase_add_loop_test(made, a_bound_stub_leads_to_what_its_slot_holds, 0,
                        LENGTH(fronts));
    tcase_add_loop_test(made, an_unbound_stub_tells_the_name, 0, 2);
    tcase_add_loop_test(made, a_tail_call_through_data_is_not_followed, 0, 2);
    tcase_add_loop_test(made, a_function_that_looks_like_a_stub_is_none, 0, 6);
    tcase_add_loop_test(made, a_lone_jump_is_followed_when_asked, 0, 9);
    tcase_add_test(made, an_ifunc_is_found_where_it_was_bound);
    tcase_add_test(real, real_stubs_lead_where_the_loader_says);
    tcase_add_test(real, the_real_implementation_of_memcpy_is_found);
    suite_add_tcase(suite, made);
    suite_add_tcase(suite, real);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
