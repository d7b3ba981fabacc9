/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever comes back from the library is told to a person in full -
 * what happened, why, what to do about it, and that nothing was changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "patas.h"

enum {
    LAST_STATUS = PATAS_ERR_UNSUPPORTED,
    LAST_REASON = PATAS_REASON_CONVENTION,
    ROOM = 1024
};

static patas_error error_of(int status, unsigned reason)
{
    patas_error error = {.status = (patas_status)status,
                         .reason = reason,
                         .target = 0x401136,
                         .address = 0xabcd1150,
                         .tid = 4242};
    return error;
}

static void tell(const patas_error *error, char text[ROOM])
{
    size_t length = patas_error_text(error, text, ROOM);

    ck_assert_uint_lt(length, 400);
    ck_assert_uint_eq(length, strlen(text));
}

/* "object: what: why; what to do. Nothing was changed." */
static void check_sentence(const char *text)
{
    const char *object = strstr(text, ": ");
    const char *what = object ? strstr(object + 2, ": ") : NULL;
    const char *advice = what ? strstr(what + 2, "; ") : NULL;
    const char *end = advice ? strstr(advice, ". Nothing was changed") : NULL;

    ck_assert_msg(end != NULL, "an ingredient is missing: %s", text);
    ck_assert_msg(text[strlen(text) - 1] == '.', "no end: %s", text);
    ck_assert_msg(!strpbrk(text, "@#%\n"), "left unfilled: %s", text);
    ck_assert_msg(!strstr(text, "  "), "two spaces: %s", text);
    ck_assert_msg(!strstr(end + 2, ";"), "two advices: %s", text);
}

START_TEST(every_status_and_reason_makes_a_whole_sentence)
{
    char text[ROOM];

    for (int status = 1; status <= LAST_STATUS + 1; status++) {
        for (unsigned reason = 0; reason <= LAST_REASON + 1u; reason++) {
            patas_error error = error_of(status, reason);
            tell(&error, text);
            check_sentence(text);
            ck_assert_ptr_eq(strstr(text, "0x401136: "), text);

            error.target = error.address = 0;
            error.tid = 0;
            tell(&error, text);
            check_sentence(text);
            ck_assert_ptr_null(strstr(text, "0x0"));
        }
    }
}
END_TEST

START_TEST(no_two_reasons_and_no_two_statuses_sound_the_same)
{
    static char texts[LAST_STATUS * (LAST_REASON + 1)][ROOM];
    size_t count = 0;

    for (int status = 1; status <= LAST_STATUS; status++) {
        for (unsigned reason = 0; reason <= LAST_REASON; reason++) {
            patas_error error = error_of(status, reason);
            tell(&error, texts[count++]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(texts[i], texts[j]);
    }
}
END_TEST

START_TEST(an_unknown_reason_falls_back_to_what_the_status_says)
{
    char known[ROOM], unknown[ROOM];
    patas_error error = error_of(PATAS_ERR_NO_ROOM, PATAS_REASON_NONE);

    tell(&error, known);
    error.reason = 0xffffffff;
    tell(&error, unknown);
    ck_assert_str_eq(known, unknown);

    error = error_of(-7, 99);
    tell(&error, unknown);
    ck_assert_ptr_nonnull(strstr(unknown, "unknown status"));
}
END_TEST

START_TEST(what_is_in_the_way_is_named)
{
    char text[ROOM];
    patas_error error =
        error_of(PATAS_ERR_CANNOT_MOVE, PATAS_REASON_CANNOT_MOVE);

    tell(&error, text);
    ck_assert_str_eq(text, "0x401136: its code can't be moved: the instruction "
                           "at 0xabcd1150 would not do the same elsewhere; "
                           "replace its callers instead. Nothing was changed.");

    error = error_of(PATAS_ERR_ARGUMENT, PATAS_REASON_NOT_EXECUTABLE);
    tell(&error, text);
    ck_assert_ptr_nonnull(strstr(text, ": 0xabcd1150 is stack, heap"));
    error.address = error.target;
    tell(&error, text);
    ck_assert_ptr_nonnull(strstr(text, ": it is stack, heap"));

    error = error_of(PATAS_ERR_BLOCKED, PATAS_REASON_NO_PTRACE);
    tell(&error, text);
    ck_assert_ptr_nonnull(strstr(text, ": thread 4242 blocks SIGILL"));

    error = error_of(PATAS_ERR_DENIED, PATAS_REASON_NO_WRITE);
    error.os_errno = 13;
    tell(&error, text);
    ck_assert_ptr_nonnull(
        strstr(text, "may write code (EACCES, permission denied); allow"));

    error = error_of(PATAS_ERR_OS, PATAS_REASON_NONE);
    error.os_errno = 4095;
    tell(&error, text);
    ck_assert_ptr_nonnull(strstr(text, "failed (system error 4095); "));
    error.os_errno = -5;
    tell(&error, text);
    ck_assert_ptr_nonnull(strstr(text, "(system error -5)"));
}
END_TEST

START_TEST(addresses_are_whole_from_one_digit_to_all)
{
    static const struct {
        uintptr_t address;
        const char *want;
    } rows[] = {
        {1, "0x1: "},
        {0x10, "0x10: "},
#if UINTPTR_MAX > UINT32_MAX
        {0x8000000000000000, "0x8000000000000000: "},
        {UINTPTR_MAX, "0xffffffffffffffff: "}
    };
#else
        {0x80000000, "0x80000000: "},
        {UINTPTR_MAX, "0xffffffff: "}
    };
#endif
    char text[ROOM];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        patas_error error = error_of(PATAS_ERR_BUSY, PATAS_REASON_IN_PATAS);
        error.target = rows[i].address;
        tell(&error, text);
        ck_assert_msg(strstr(text, rows[i].want) == text, "%s", text);
    }
}
END_TEST

START_TEST(success_and_no_error_at_all_are_told_apart_from_failure)
{
    char text[ROOM];
    patas_error error = {0};

    tell(&error, text);
    ck_assert_str_eq(text, "No error.");
    tell(NULL, text);
    ck_assert_str_eq(text, "No error.");
}
END_TEST

/* As snprintf(): the length of all of it, a cut text, and a NUL within size. */
START_TEST(a_short_buffer_cuts_the_text_and_still_ends_it)
{
    char whole[ROOM], text[ROOM];
    patas_error error = error_of(PATAS_ERR_STALE, PATAS_REASON_RESTORED);
    size_t length = patas_error_text(&error, whole, sizeof whole);

    for (size_t size = 0; size <= length + 2; size++) {
        size_t fits = size <= length ? size : length + 1;
        memset(text, 'x', sizeof text);
        ck_assert_uint_eq(patas_error_text(&error, text, size), length);
        if (fits) {
            ck_assert_mem_eq(text, whole, fits - 1);
            ck_assert_int_eq(text[fits - 1], 0);
        }
        ck_assert_int_eq(text[fits], 'x');
    }
    ck_assert_uint_eq(patas_error_text(&error, NULL, 0), length);
    ck_assert_uint_eq(patas_error_text(&error, NULL, 100), length);
}
END_TEST

START_TEST(names_are_those_of_the_header)
{
    ck_assert_str_eq(patas_status_name(PATAS_OK), "PATAS_OK");
    ck_assert_str_eq(patas_status_name(PATAS_ERR_NO_ROOM), "PATAS_ERR_NO_ROOM");
    ck_assert_str_eq(patas_status_name((patas_status)(LAST_STATUS + 1)),
                     "unknown status");
    ck_assert_str_eq(patas_form_name(PATAS_FORM_KEPT_BYTES), "kept bytes");
    ck_assert_str_eq(patas_form_name(PATAS_FORM_COUNT), "unknown form");
    for (int a = 0; a <= LAST_STATUS; a++) {
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(patas_status_name((patas_status)a),
                             patas_status_name((patas_status)b));
    }
    for (int a = 0; a < PATAS_FORM_COUNT; a++) {
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(patas_form_name((patas_form)a),
                             patas_form_name((patas_form)b));
    }
    ck_assert_uint_eq(patas_version(), PATAS_VERSION_MAJOR * 65536u +
                                           PATAS_VERSION_MINOR * 256u +
                                           PATAS_VERSION_PATCH);
}
END_TEST

static const patas_plan_info plan = {
    .size = sizeof plan,
    .target = 0x401030,
    .entry = 0xf7a01000,
    .extent = 62,
    .padding = 2,
    .island = 0xae123005,
    .form = PATAS_FORM_KEPT_BYTES,
    .written = 3,
    .moved = 3,
    .before = {0x48, 0x89, 0xf8, 0x0f, 0xb6, 0x16, 0xc3, 0x90},
    .after = {0xe9, 0xd0, 0xd1, 0x0f, 0xb6, 0x16, 0xc3, 0x90},
    .passed_by = {[PATAS_FORM_ONE_INSTRUCTION] = PATAS_REASON_FIRST_TOO_SHORT},
    .patches = 1,
};

START_TEST(a_plan_reads_from_what_was_asked_to_what_would_be_there)
{
    char text[ROOM];

    patas_plan_text(&plan, text, sizeof text);
    ck_assert_str_eq(
        text,
        "0xf7a01000: kept bytes\n"
        "  asked       0x401030, which leads to this function\n"
        "  extent      62 bytes, padding behind it 2\n"
        "  form        only the first instruction is written; the rest of the "
        "jump is the code that stood there\n"
        "  passed by   one instruction: the first instruction is too short for "
        "the jump\n"
        "  before      48 89 f8 0f b6 16 c3 90\n"
        "  written     3 bytes; code moved: 3\n"
        "  after       e9 d0 d1 0f b6 16 c3 90\n"
        "  island      0xae123005\n"
        "  patches     1 on it now");
}
END_TEST

START_TEST(a_plan_that_fits_nothing_says_why_each_form_was_passed_by)
{
    patas_plan_info none = plan;
    char text[ROOM];

    none.form = PATAS_FORM_NONE;
    none.in_the_way = 0xf7a01040;
    for (int form = 1; form < PATAS_FORM_SLOT; form++)
        none.passed_by[form] = PATAS_REASON_BRANCH_IN;
    patas_plan_text(&none, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "7a01000: can't be patched\n"));
    ck_assert_ptr_nonnull(strstr(text, "  form        none fits\n"));
    for (int form = 1; form < PATAS_FORM_SLOT; form++) {
        const char *name = strstr(text, patas_form_name((patas_form)form));
        ck_assert_ptr_nonnull(name);
        ck_assert_ptr_nonnull(strstr(name, "0xf7a01040"));
    }
    ck_assert_ptr_null(strstr(text, "  after"));
    ck_assert_ptr_null(strstr(text, "  island"));
}
END_TEST

START_TEST(a_plan_that_was_refused_early_shows_nothing_that_is_not_known)
{
    patas_plan_info none = {.size = sizeof none, .target = 16, .entry = 16};
    char text[ROOM];

    patas_plan_text(&none, text, sizeof text);
    ck_assert_str_eq(text, "0x10: can't be patched\n"
                           "  extent      unknown, padding behind it 0\n"
                           "  form        none was looked for; the error says "
                           "why\n"
                           "  patches     0 on it now");
}
END_TEST

/* Read to the size that its caller knows, and no further. */
START_TEST(a_plan_of_an_older_size_is_read_to_its_end)
{
    size_t size = offsetof(patas_plan_info, island);
    patas_plan_info *old = malloc(size); /* the sanitizer guards its end */
    char text[ROOM];

    ck_assert_ptr_nonnull(old);
    memcpy(old, &plan, size);
    memcpy(old, &size, sizeof size);
    patas_plan_text(old, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "  extent      62 bytes"));
    free(old);

    ck_assert_uint_eq(patas_plan_text(NULL, text, sizeof text), 8);
    ck_assert_str_eq(text, "No plan.");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("status");
    TCase *texts = tcase_create("texts");
    TCase *plans = tcase_create("plans");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, texts);
    tcase_add_test(texts, every_status_and_reason_makes_a_whole_sentence);
    tcase_add_test(texts, no_two_reasons_and_no_two_statuses_sound_the_same);
    tcase_add_test(texts, an_unknown_reason_falls_back_to_what_the_status_says);
    tcase_add_test(texts, what_is_in_the_way_is_named);
    tcase_add_test(texts, addresses_are_whole_from_one_digit_to_all);
    tcase_add_test(texts,
                   success_and_no_error_at_all_are_told_apart_from_failure);
    tcase_add_test(texts, a_short_buffer_cuts_the_text_and_still_ends_it);
    tcase_add_test(texts, names_are_those_of_the_header);
    suite_add_tcase(suite, plans);
    tcase_add_test(plans,
                   a_plan_reads_from_what_was_asked_to_what_would_be_there);
    tcase_add_test(plans,
                   a_plan_that_fits_nothing_says_why_each_form_was_passed_by);
    tcase_add_test(
        plans, a_plan_that_was_refused_early_shows_nothing_that_is_not_known);
    tcase_add_test(plans, a_plan_of_an_older_size_is_read_to_its_end);

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
