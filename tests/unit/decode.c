/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>

#include "decode_vectors.h"
#include "isa.h"

enum {
    HERE = 0x10000
};

static bool decode(const struct vector *vector, size_t size, bool wide,
                   struct patas__insn *insn)
{
    const struct patas__isa *isa = wide ? &patas__isa_x86_64 : &patas__isa_i386;
    /* With bytes behind it, and at the very end, where other code decodes. */
    uint8_t bytes[48];
    struct patas__insn at_end;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i < size ? vector->bytes[i] : 0xff;
    bool ended = isa->decode(bytes, size, HERE, &at_end);
    bool well = isa->decode(bytes, sizeof bytes, HERE, insn);
    if (well && insn->length <= size) {
        ck_assert(ended);
        ck_assert_mem_eq(insn, &at_end, sizeof *insn);
    } else {
        ck_assert(!ended);
    }
    return well;
}

static void check_vector(const struct vector *v, bool wide)
{
    struct patas__insn insn;
    bool well = decode(v, v->size, wide, &insn);

    if (!v->is) {
        ck_assert_msg(!well, "%s (%s): decoded, %u bytes", v->text, v->manual,
                      insn.length);
        ck_assert_uint_eq(insn.length, 0);
        return;
    }
    ck_assert_msg(well, "%s (%s): refused", v->text, v->manual);
    ck_assert_msg(insn.length == v->size, "%s (%s): %u bytes", v->text,
                  v->manual, insn.length);
    ck_assert_msg(insn.encoding == v->encoding && insn.map == v->map,
                  "%s: encoding %u map %u", v->text, insn.encoding, insn.map);
}

START_TEST(what_the_manuals_define_has_its_length_64)
{
    for (size_t i = 0; i < vectors_64_count; i++)
        check_vector(&vectors_64[i], true);
}
END_TEST

START_TEST(what_the_manuals_define_has_its_length_32)
{
    for (size_t i = 0; i < vectors_32_count; i++)
        check_vector(&vectors_32[i], false);
}
END_TEST

START_TEST(a_cut_instruction_is_none)
{
    for (size_t i = 0; i < vectors_64_count; i++) {
        const struct vector *v = &vectors_64[i];
        struct patas__insn insn;

        for (size_t size = 0; v->is && size < v->size; size++) {
            ck_assert(!patas__isa_x86_64.decode(v->bytes, size, HERE, &insn));
            ck_assert_uint_eq(insn.length, 0);
        }
    }
}
END_TEST

/* One instruction, and every field but `address`. */
struct golden {
    uint8_t bytes[15];
    bool wide;
    struct patas__insn want;
};

#define HEAD(size, kind) .length = (size), .flow = PATAS__FLOW_##kind
#define TARGET(to, at, size) \
    .target = (to), .has_target = true, .rel_at = (at), .rel_size = (size)
#define OPERAND(to, at) \
    .operand = (to), .has_operand = true, .rel_at = (at), .rel_size = 4

/* clang-format off */
static const struct golden goldens[] = {
    {{0x90}, true, /* nop */
     {HEAD(1, NEXT), .padding = true}},
    {{0x66, 0x90}, true, /* xchg ax, ax */
     {HEAD(2, NEXT), .padding = true, .opcode_at = 1,
      .prefixes = PATAS__PREFIX_66}},
    {{0xf3, 0x90}, true, /* pause */
     {HEAD(2, NEXT), .opcode_at = 1, .prefixes = PATAS__PREFIX_F3}},
    {{0x41, 0x90}, true, /* xchg r8d, eax */
     {HEAD(2, NEXT), .opcode_at = 1, .rex = 0x41}},
    {{0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, true, /* nopw cs:... */
     {HEAD(10, NEXT), .padding = true, .opcode_at = 3, .modrm_at = 4, .map = 1,
      .prefixes = PATAS__PREFIX_66 | PATAS__PREFIX_SEGMENT}},
    {{0xcc}, true, /* int3 */
     {HEAD(1, STOP), .padding = true}},
    {{0xf4}, true, /* hlt */
     {HEAD(1, STOP)}},
    {{0x0f, 0x0b}, true, /* ud2 */
     {HEAD(2, STOP), .opcode_at = 1, .map = 1}},
    {{0xf3, 0x0f, 0x1e, 0xfa}, true, /* endbr64 */
     {HEAD(4, NEXT), .landing_pad = true, .opcode_at = 2, .modrm_at = 3,
      .map = 1, .prefixes = PATAS__PREFIX_F3}},
    {{0xf3, 0x0f, 0x1e, 0xfb}, true, /* endbr32: a NOP to 64-bit code */
     {HEAD(4, NEXT), .opcode_at = 2, .modrm_at = 3, .map = 1,
      .prefixes = PATAS__PREFIX_F3}},
    {{0xf3, 0x0f, 0x1e, 0xfb}, false, /* endbr32 */
     {HEAD(4, NEXT), .landing_pad = true, .opcode_at = 2, .modrm_at = 3,
      .map = 1, .prefixes = PATAS__PREFIX_F3}},
    {{0xe9, 0xfb, 0xff, 0xff, 0xff}, true, /* jmp . */
     {HEAD(5, JUMP), TARGET(HERE, 1, 4)}},
    {{0xeb, 0x10}, true, /* jmp .+0x12 */
     {HEAD(2, JUMP), TARGET(HERE + 0x12, 1, 1)}},
    {{0xe8, 0, 0, 0, 0}, true, /* call next */
     {HEAD(5, CALL), TARGET(HERE + 5, 1, 4)}},
    {{0x74, 0x80}, true, /* jz .-0x7e */
     {HEAD(2, BRANCH), TARGET(HERE - 0x7e, 1, 1)}},
    {{0x0f, 0x84, 0, 0, 1, 0}, true, /* jz .+0x10006 */
     {HEAD(6, BRANCH), TARGET(HERE + 0x10006, 2, 4), .opcode_at = 1,
      .map = 1}},
    {{0x67, 0xe3, 0xfd}, true, /* jecxz . */
     {HEAD(3, BRANCH), TARGET(HERE, 2, 1), .opcode_at = 1,
      .prefixes = PATAS__PREFIX_67}},
    {{0xe2, 0xfe}, true, /* loop . */
     {HEAD(2, BRANCH), TARGET(HERE, 1, 1)}},
    {{0xc7, 0xf8, 0xfa, 0xff, 0xff, 0xff}, true, /* xbegin . */
     {HEAD(6, BRANCH), TARGET(HERE, 2, 4), .modrm_at = 1}},
    {{0x66, 0xc7, 0xf8, 0xfb, 0xff}, true, /* xbegin ., 16 bits */
     {HEAD(5, BRANCH), TARGET(HERE, 3, 2), .opcode_at = 1, .modrm_at = 2,
      .prefixes = PATAS__PREFIX_66}},
    {{0x66, 0xe8, 0, 0, 0, 0}, true, /* call, 66 ignored: x86.h */
     {HEAD(6, CALL), TARGET(HERE + 6, 2, 4), .opcode_at = 1,
      .prefixes = PATAS__PREFIX_66}},
    {{0x66, 0x66, 0x48, 0xe8, 1, 0, 0, 0}, true, /* data16 rex.W call (TLS) */
     {HEAD(8, CALL), TARGET(HERE + 9, 4, 4), .opcode_at = 3,
      .prefixes = PATAS__PREFIX_66, .rex = 0x48}},
    {{0x66, 0xe9, 0x01, 0x02}, false, /* jmp, and EIP cut to 16 bits */
     {HEAD(4, JUMP), TARGET(0x205, 2, 2), .opcode_at = 1,
      .prefixes = PATAS__PREFIX_66}},
    {{0xe9, 0xfa, 0xff, 0xfe, 0xff}, false, /* jmp below 0: 32 bits */
     {HEAD(5, JUMP), TARGET(0xffffffff, 1, 4)}},
    {{0xff, 0x25, 0x10, 0, 0, 0}, true, /* jmp *0x10(%rip) */
     {HEAD(6, JUMP), OPERAND(HERE + 0x16, 2), .modrm_at = 1}},
    {{0xff, 0x15, 0x10, 0, 0, 0}, true, /* call *0x10(%rip) */
     {HEAD(6, CALL), OPERAND(HERE + 0x16, 2), .modrm_at = 1}},
    {{0xff, 0x25, 0x10, 0, 0, 0}, false, /* jmp *0x10 */
     {HEAD(6, JUMP), .modrm_at = 1}},
    {{0x41, 0xff, 0xe3}, true, /* jmp *%r11 */
     {HEAD(3, JUMP), .opcode_at = 1, .modrm_at = 2, .rex = 0x41}},
    {{0x48, 0x83, 0x3d, 0, 1, 0, 0, 0x05}, true, /* cmp $5, 0x100(%rip) */
     {HEAD(8, NEXT), OPERAND(HERE + 0x108, 3), .opcode_at = 1, .modrm_at = 2,
      .rex = 0x48}},
    {{0x67, 0x8b, 0x05, 0, 0, 0, 0xff}, true, /* mov (%eip), %eax */
     {HEAD(7, NEXT), OPERAND(0xff010007, 3), .opcode_at = 1, .modrm_at = 2,
      .prefixes = PATAS__PREFIX_67}},
    {{0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}, true, /* mov %fs:0x28 */
     {HEAD(9, NEXT), .opcode_at = 2, .modrm_at = 3,
      .prefixes = PATAS__PREFIX_FS, .rex = 0x48}},
    {{0x62, 0xf1, 0x7c, 0x48, 0x28, 0x05, 0, 0, 0, 0}, true, /* vmovaps zmm */
     {HEAD(10, NEXT), OPERAND(HERE + 10, 6), .opcode_at = 4, .modrm_at = 5,
      .map = 1, .encoding = PATAS__EVEX}},
    {{0xc4, 0xe3, 0x7d, 0x18, 0x05, 0, 0, 0, 0, 1}, true, /* vinsertf128 */
     {HEAD(10, NEXT), OPERAND(HERE + 10, 5), .opcode_at = 3, .modrm_at = 4,
      .map = 3, .encoding = PATAS__VEX}},
    {{0x0f, 0x05}, true, /* syscall */
     {HEAD(2, SYSCALL), .opcode_at = 1, .map = 1}},
    {{0xcd, 0x80}, false, /* int $0x80 */
     {HEAD(2, SYSCALL)}},
    {{0xf3, 0xc3}, true, /* rep ret */
     {HEAD(2, RETURN), .opcode_at = 1, .prefixes = PATAS__PREFIX_F3}},
    {{0xc2, 0x08, 0x00}, true, /* ret $8 */
     {HEAD(3, RETURN)}},
    {{0x48, 0xcf}, true, /* iretq */
     {HEAD(2, RETURN), .opcode_at = 1, .rex = 0x48}},
    {{0x9a, 1, 2, 3, 4, 5, 6}, false, /* call far: absolute, no target */
     {HEAD(7, CALL)}},
    {{0x48, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, true, /* movabs */
     {HEAD(10, NEXT), .opcode_at = 1, .rex = 0x48}},
    {{0xd5, 0x00, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, true, /* jmpabs */
     {HEAD(11, JUMP), .opcode_at = 2, .encoding = PATAS__REX2}},
    {{0x8d, 0x76, 0x00}, false, /* lea 0(%esi), %esi: as fills a gap */
     {HEAD(3, NEXT), .padding = true, .modrm_at = 1}},
    {{0x8d, 0xb4, 0x26, 0, 0, 0, 0}, false, /* lea 0(%esi,%eiz), %esi */
     {HEAD(7, NEXT), .padding = true, .modrm_at = 1}},
    {{0x8d, 0x76, 0x01}, false, /* lea 1(%esi), %esi */
     {HEAD(3, NEXT), .modrm_at = 1}},
    {{0x89, 0xf6}, false, /* mov %esi, %esi */
     {HEAD(2, NEXT), .padding = true, .modrm_at = 1}},
    {{0x89, 0xf6}, true, /* the same clears half of rsi */
     {HEAD(2, NEXT), .modrm_at = 1}},
};
/* clang-format on */

START_TEST(every_field_is_filled)
{
    const struct golden *golden = &goldens[_i];
    const struct patas__insn *want = &golden->want;
    const struct patas__isa *isa =
        golden->wide ? &patas__isa_x86_64 : &patas__isa_i386;
    struct patas__insn got;

    ck_assert(isa->decode(golden->bytes, sizeof golden->bytes, HERE, &got));
    ck_assert_uint_eq(got.address, HERE);
    ck_assert_uint_eq(got.length, want->length);
    ck_assert_uint_eq(got.flow, want->flow);
    ck_assert_int_eq(got.has_target, want->has_target);
    ck_assert_uint_eq(got.target, want->target);
    ck_assert_int_eq(got.has_operand, want->has_operand);
    ck_assert_uint_eq(got.operand, want->operand);
    ck_assert_uint_eq(got.rel_at, want->rel_at);
    ck_assert_uint_eq(got.rel_size, want->rel_size);
    ck_assert_int_eq(got.landing_pad, want->landing_pad);
    ck_assert_int_eq(got.padding, want->padding);
    ck_assert_uint_eq(got.opcode_at, want->opcode_at);
    ck_assert_uint_eq(got.modrm_at, want->modrm_at);
    ck_assert_uint_eq(got.map, want->map);
    ck_assert_uint_eq(got.encoding, want->encoding);
    ck_assert_uint_eq(got.prefixes, want->prefixes);
    ck_assert_uint_eq(got.rex, want->rex);
}
END_TEST

START_TEST(fifteen_bytes_are_the_limit)
{
    uint8_t bytes[32] = {0};
    struct patas__insn insn;

    for (int i = 0; i < 14; i++)
        bytes[i] = 0x2e;
    bytes[14] = 0x90;
    ck_assert(patas__isa_x86_64.decode(bytes, sizeof bytes, HERE, &insn));
    ck_assert_uint_eq(insn.length, 15);
    bytes[14] = 0x2e;
    bytes[15] = 0x90;
    ck_assert(!patas__isa_x86_64.decode(bytes, sizeof bytes, HERE, &insn));
    bytes[13] = 0x89; /* mov %eax, %eax behind 13 prefixes, then behind 14 */
    bytes[14] = 0xc0;
    ck_assert(patas__isa_x86_64.decode(bytes, sizeof bytes, HERE, &insn));
    bytes[13] = 0x2e;
    bytes[14] = 0x89;
    bytes[15] = 0xc0;
    ck_assert(!patas__isa_x86_64.decode(bytes, sizeof bytes, HERE, &insn));
    for (int i = 0; i < 32; i++)
        bytes[i] = 0x66;
    ck_assert(!patas__isa_x86_64.decode(bytes, sizeof bytes, HERE, &insn));
}
END_TEST

START_TEST(a_target_below_the_code_wraps)
{
    static const uint8_t bytes[] = {0xe9, 0x00, 0x00, 0x00, 0x80};
    struct patas__insn insn;

    ck_assert(patas__isa_x86_64.decode(bytes, sizeof bytes, 0x1000, &insn));
    ck_assert_uint_eq(insn.target, 0x1005 - (uint64_t)0x80000000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode");
    TCase *all = tcase_create("all");
    int count = sizeof goldens / sizeof *goldens;

    tcase_add_test(all, what_the_manuals_define_has_its_length_64);
    tcase_add_test(all, what_the_manuals_define_has_its_length_32);
    tcase_add_test(all, a_cut_instruction_is_none);
    tcase_add_loop_test(all, every_field_is_filled, 0, count);
    tcase_add_test(all, fifteen_bytes_are_the_limit);
    tcase_add_test(all, a_target_below_the_code_wraps);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
