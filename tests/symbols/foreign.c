/* SPDX-License-Identifier: MIT */
/* Whose patches are in this process. */
#include "live/expect.h"
#include "machine.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <patas/symbols.h>

KEEP int victim(int x)
{
    __asm__ volatile(".rept 16\n nop\n .endr");
    return x + 1;
}
KEEP int other(int x)
{
    __asm__ volatile(".rept 16\n nop\n .endr");
    return x + 2;
}
KEEP int fake(int x)
{
    return x + 1000;
}

static void overwrite(patas_fn function, const void *bytes, size_t size)
{
    uintptr_t page = (uintptr_t)function & ~(uintptr_t)4095;
    ck_assert_int_eq(
        mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    memcpy((void *)(uintptr_t)function, bytes, size);
    __builtin___clear_cache((char *)(uintptr_t)function,
                            (char *)(uintptr_t)function + size);
    ck_assert_int_eq(mprotect((void *)page, 8192, PROT_READ | PROT_EXEC), 0);
}

static void jump_to(patas_fn from, uintptr_t to)
{
    uint8_t jump[MACHINE_JUMP];
    machine_jump(jump, (uintptr_t)from, to);
    overwrite(from, jump, sizeof jump);
}

/* The one on `function`; the whole list is the caller's to free. */
static const patas_foreign *patch_of(const patas_foreign_list *list,
                                     const char *function)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!strcmp(list->patches[i].function, function))
            return &list->patches[i];
    }
    return NULL;
}

static patas_foreign_list *all(const char *module)
{
    patas_foreign_list *list = NULL;
    OK(patas_foreign_find(module, &list, &error));
    return list;
}

START_TEST(an_untouched_process_has_none)
{
    patas_foreign_list *list = all(NULL);
    ck_assert_msg(list->count == 0, "%s",
                  list->count ? list->patches[0].text : "");
    ck_assert_uint_eq(list->unread_count, 0);
    patas_foreign_free(list);
}
END_TEST

#if defined(__i386__)
START_TEST(what_the_linker_wrote_is_nobody_s_patch)
{
    void *handle = dlopen(SAMPLES "/fixed.so", RTLD_NOW);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    patas_fn function = (patas_fn)(uintptr_t)dlsym(handle, "fixed_function");
    ck_assert_ptr_nonnull((void *)(uintptr_t)function);
    patas_foreign_list *list = all("fixed");
    ck_assert_msg(list->count == 0, "%s",
                  list->count ? list->patches[0].text : "");
    patas_foreign_free(list);
    /* A patch beside it is still seen. */
    jump_to(function, (uintptr_t)fake);
    list = all("fixed");
    ck_assert_ptr_nonnull(patch_of(list, "fixed_function"));
    ck_assert_uint_eq(list->count, 1);
    patas_foreign_free(list);
}
END_TEST
#endif

START_TEST(somebody_else_s_jump_has_an_owner)
{
    jump_to((patas_fn)victim, (uintptr_t)fake);
    patas_foreign_list *list = all("symbols_foreign");
    const patas_foreign *found = patch_of(list, "victim");
    ck_assert_uint_eq(list->count, 1);
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(found->ours, 0);
    ck_assert_uint_eq(found->target, (uintptr_t)fake);
    ck_assert_ptr_nonnull(strstr(found->owner, "symbols_foreign"));
    ck_assert_uint_ge(found->size, 1);
    ck_assert_uint_le(found->size, 5);
    ck_assert_int_eq(memcmp(found->mapped, (void *)found->address,
                            found->size < 16 ? found->size : 16),
                     0);
    ck_assert_int_ne(memcmp(found->mapped, found->on_disk, found->size), 0);
    ck_assert_ptr_nonnull(
        strstr(found->text,
               MACHINE3("? not ours: e9", "? not ours: e9", "? not ours: ")));
    patas_foreign_free(list);
    list = all("libc");
    ck_assert_uint_eq(list->count, 0);
    patas_foreign_free(list);
}
END_TEST

START_TEST(a_trampoline_is_followed)
{
    /* jmp *2(%rip), or jmp *address; ud2; address: as many libraries have it;
     * ldr x16, address; br x16; address. */
    uint8_t *page = mmap(
        (void *)(((uintptr_t)victim & ~0xfffffful) + (64 << 20)), 4096,
        PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(page, MAP_FAILED);
    uintptr_t to = (uintptr_t)getpid;
#if defined(__aarch64__)
    memcpy(page, "\x50\0\0\x58\0\x02\x1f\xd6", 8);
#else
    uint32_t slot = MACHINE(2, (uint32_t)(uintptr_t)(page + 8));
    memcpy(page, "\xff\x25", 2);
    memcpy(page + 2, &slot, 4);
    memcpy(page + 6, "\x0f\x0b", 2);
#endif
    memcpy(page + 8, &to, sizeof to);
    jump_to((patas_fn)victim, (uintptr_t)page);
    /* Memory without a jump is where it ends. */
    memcpy(page + 64, MACHINE3("\xc3", "\xc3", "\xc0\x03\x5f\xd6"),
           MACHINE3(1, 1, 4));
    jump_to((patas_fn)other, (uintptr_t)page + 64);
    patas_foreign_list *list = all("symbols_foreign");
    const patas_foreign *found = patch_of(list, "victim");
    ck_assert_ptr_nonnull(found);
    ck_assert_uint_eq(found->target, to);
    ck_assert_ptr_nonnull(strstr(found->owner, "libc.so.6"));
    found = patch_of(list, "other");
    ck_assert_ptr_nonnull(found);
    ck_assert_uint_eq(found->target, (uintptr_t)page + 64);
    ck_assert_str_eq(found->owner, "anonymous memory");
    patas_foreign_free(list);
}
END_TEST

/* mov $to,%reg; jmp *%reg, and what else is written in a function's place. */
#define LEADS_TO_GETPID(before, behind) \
    leads_to_getpid(before, sizeof(before) - 1, behind, sizeof(behind) - 1)
static void leads_to_getpid(const char *before, size_t size, const char *behind,
                            size_t more)
{
    uint8_t bytes[16];
    const uintptr_t to = (uintptr_t)getpid;
    memcpy(bytes, before, size);
    memcpy(bytes + size, &to, sizeof to);
    size += sizeof to;
    memcpy(bytes + size, behind, more);
    overwrite((patas_fn)victim, bytes, size + more);
    patas_foreign_list *list = all("symbols_foreign");
    const patas_foreign *found = patch_of(list, "victim");
    ck_assert_ptr_nonnull(found);
    ck_assert_msg(found->target == to, "%02x..: %#lx, not %#lx", bytes[0],
                  (unsigned long)found->target, (unsigned long)to);
    patas_foreign_free(list);
}

START_TEST(a_jump_may_be_by_a_register)
{
#if defined(__x86_64__)
    LEADS_TO_GETPID("\x48\xb8", "\xff\xe0");     /* rax */
    LEADS_TO_GETPID("\x49\xbb", "\x41\xff\xe3"); /* r11 */
#elif defined(__i386__)
    LEADS_TO_GETPID("\xb8", "\xff\xe0"); /* eax */
    LEADS_TO_GETPID("\xb9", "\xff\xe1"); /* ecx */
    LEADS_TO_GETPID("\x68", "\xc3");     /* push; ret */
#elif defined(__aarch64__)
    LEADS_TO_GETPID("\x51\0\0\x58\x20\x02\x1f\xd6", ""); /* x17 */
    LEADS_TO_GETPID("\x49\0\0\x58\x20\x01\x1f\xd6", ""); /* x9 */
#endif
}
END_TEST

START_TEST(our_own_are_told_from_others)
{
    patas_patch *patch;
    OK(PATAS_REPLACE(victim, fake, &patch, &error));
    jump_to((patas_fn)other, (uintptr_t)fake);
    patas_foreign_list *list = all("symbols_foreign");
    ck_assert_ptr_nonnull(patch_of(list, "victim"));
    ck_assert_int_eq(patch_of(list, "victim")->ours, 1);
    ck_assert_uint_eq(patch_of(list, "victim")->target, (uintptr_t)fake);
    ck_assert_int_eq(patch_of(list, "other")->ours, 0);
    patas_foreign_free(list);
    OK(patas_restore(patch, &error));
    list = all("symbols_foreign");
    ck_assert_ptr_null(patch_of(list, "victim"));
    patas_foreign_free(list);
}
END_TEST

START_TEST(a_breakpoint_is_called_one)
{
    static const uint8_t breakpoint[] = MACHINE_BREAKPOINT;
    overwrite((patas_fn)victim, breakpoint, sizeof breakpoint);
    patas_foreign_list *list = all("symbols_foreign");
    const patas_foreign *found = patch_of(list, "victim");
    ck_assert_ptr_nonnull(found);
    ck_assert_ptr_nonnull(strstr(found->text, "breakpoint"));
    ck_assert_uint_eq(found->target, 0);
    patas_foreign_free(list);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, an_untouched_process_has_none);
#if defined(__i386__)
    tcase_add_test(tests, what_the_linker_wrote_is_nobody_s_patch);
#endif
    tcase_add_test(tests, somebody_else_s_jump_has_an_owner);
    tcase_add_test(tests, a_trampoline_is_followed);
    tcase_add_test(tests, a_jump_may_be_by_a_register);
    tcase_add_test(tests, our_own_are_told_from_others);
    tcase_add_test(tests, a_breakpoint_is_called_one);
}

EXPECT_MAIN("foreign", add_tests)
