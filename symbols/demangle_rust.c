/* SPDX-License-Identifier: MIT */
/*
 * Rust's two manglings, without the hashes that nobody types.
 *
 * The older one is C++'s nested name with a hash as its last part; the newer
 * one, "v0", is described by Rust RFC 2603, whose names of rules are used here.
 * Everything is bounded: a name may nest by references to itself.
 */
#include "internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUST_DEPTH = 100,
    RUST_OUTPUT = 65536
};

struct rust {
    const char *in; /* behind the prefix, where references count from */
    size_t at, size;
    char *out;
    size_t length;
    unsigned depth;
    unsigned lifetimes; /* bound by the binders around */
    bool silent, failed;
};

static void rust_put(struct rust *rust, const char *text, size_t length)
{
    if (rust->silent || rust->failed)
        return;
    if (length >= RUST_OUTPUT - rust->length) {
        rust->failed = true;
        return;
    }
    memcpy(rust->out + rust->length, text, length);
    rust->length += length;
}

static void rust_puts(struct rust *rust, const char *text)
{
    rust_put(rust, text, strlen(text));
}

static void rust_put_number(struct rust *rust, uint64_t number)
{
    char digits[24];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    rust_put(rust, digits + at, sizeof digits - at);
}

static char rust_peek(const struct rust *rust)
{
    return rust->at < rust->size ? rust->in[rust->at] : 0;
}

static char rust_next(struct rust *rust)
{
    if (rust->at >= rust->size) {
        rust->failed = true;
        return 0;
    }
    return rust->in[rust->at++];
}

static bool rust_take(struct rust *rust, char c)
{
    if (rust->failed || rust_peek(rust) != c)
        return false;
    rust->at++;
    return true;
}

/* base-62-number: "_" is 0, "0_" is 1. */
static uint64_t rust_base62(struct rust *rust)
{
    uint64_t value = 0;

    if (rust_take(rust, '_'))
        return 0;
    while (!rust->failed) {
        char c = rust_next(rust);
        unsigned digit;
        if (c == '_')
            return value + 1;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'z')
            digit = 10 + (unsigned)(c - 'a');
        else if (c >= 'A' && c <= 'Z')
            digit = 36 + (unsigned)(c - 'A');
        else
            break;
        if (__builtin_mul_overflow(value, 62, &value) ||
            __builtin_add_overflow(value, digit, &value))
            break;
    }
    rust->failed = true;
    return 0;
}

static uint64_t rust_optional(struct rust *rust, char tag)
{
    return rust_take(rust, tag) ? rust_base62(rust) + 1 : 0;
}

struct rust_name {
    const char *text;
    size_t length;
    uint64_t disambiguator;
    bool punycode;
};

/* undisambiguated-identifier: ["u"] decimal ["_"] bytes */
static struct rust_name rust_identifier(struct rust *rust, bool tagged)
{
    struct rust_name name = {0};

    if (tagged)
        name.disambiguator = rust_optional(rust, 's');
    name.punycode = rust_take(rust, 'u');
    size_t length = 0;
    if (!isdigit((unsigned char)rust_peek(rust)))
        rust->failed = true;
    if (!rust_take(rust, '0')) {
        while (isdigit((unsigned char)rust_peek(rust)) && length <= rust->size)
            length = length * 10 + (size_t)(rust_next(rust) - '0');
    }
    (void)rust_take(rust, '_');
    if (rust->failed || length > rust->size - rust->at) {
        rust->failed = true;
        return name;
    }
    name.text = rust->in + rust->at;
    name.length = length;
    rust->at += length;
    return name;
}

/* Letters beyond ASCII stay as they are written: nobody's linker shows them
 * otherwise. */
static void rust_put_name(struct rust *rust, const struct rust_name *name)
{
    if (name->punycode)
        rust_puts(rust, "punycode{");
    rust_put(rust, name->text, name->length);
    if (name->punycode)
        rust_puts(rust, "}");
}

static void rust_path(struct rust *rust, bool in_value);
static void rust_type(struct rust *rust);
static void rust_const(struct rust *rust);

/* Each rule that may contain itself is entered through here. */
static void rust_nested(struct rust *rust, void (*rule)(struct rust *))
{
    if (rust->depth >= RUST_DEPTH)
        rust->failed = true;
    if (rust->failed)
        return;
    rust->depth++;
    rule(rust);
    rust->depth--;
}

static void rust_backref(struct rust *rust, void (*rule)(struct rust *))
{
    size_t back = rust->at - 1;
    uint64_t to = rust_base62(rust);

    if (to >= back) /* only what was before */
        rust->failed = true;
    if (rust->failed || rust->silent)
        return;
    size_t at = rust->at;
    rust->at = (size_t)to;
    rust_nested(rust, rule);
    rust->at = at;
}

static void rust_type_path(struct rust *rust)
{
    rust_path(rust, false);
}

static void rust_value_path(struct rust *rust)
{
    rust_path(rust, true);
}

static void rust_lifetime(struct rust *rust, uint64_t index)
{
    if (index == 0) {
        rust_puts(rust, "'_");
        return;
    }
    if (index > rust->lifetimes) {
        rust->failed = true;
        return;
    }
    uint64_t depth = rust->lifetimes - index;
    char letter[3] = {'\'', (char)('a' + depth % 26), 0};
    rust_puts(rust, depth < 26 ? letter : "'_");
}

static void rust_generic_arguments(struct rust *rust)
{
    rust_puts(rust, "<");
    for (bool first = true; !rust->failed && !rust_take(rust, 'E');
         first = false) {
        if (!first)
            rust_puts(rust, ", ");
        if (rust_take(rust, 'L'))
            rust_lifetime(rust, rust_base62(rust));
        else if (rust_take(rust, 'K'))
            rust_nested(rust, rust_const);
        else
            rust_nested(rust, rust_type);
    }
    rust_puts(rust, ">");
}

/* impl-path: where an impl stands is not shown, only for what it is. */
static void rust_impl_path(struct rust *rust)
{
    bool silent = rust->silent;

    rust_optional(rust, 's');
    rust->silent = true;
    rust_nested(rust, rust_type_path);
    rust->silent = silent;
}

static void rust_special_name(struct rust *rust, char kind,
                              const struct rust_name *name)
{
    rust_puts(rust, "::{");
    if (kind == 'C')
        rust_puts(rust, "closure");
    else if (kind == 'S')
        rust_puts(rust, "shim");
    else
        rust_put(rust, &kind, 1);
    if (name->length) {
        rust_puts(rust, ":");
        rust_put_name(rust, name);
    }
    rust_puts(rust, "#");
    rust_put_number(rust, name->disambiguator);
    rust_puts(rust, "}");
}

static void rust_nested_path(struct rust *rust, bool in_value)
{
    char kind = rust_next(rust);

    if (!isalpha((unsigned char)kind))
        rust->failed = true;
    rust_nested(rust, in_value ? rust_value_path : rust_type_path);
    struct rust_name name = rust_identifier(rust, true);
    if (rust->failed)
        return;
    if (isupper((unsigned char)kind)) {
        rust_special_name(rust, kind, &name);
    } else if (name.length) {
        rust_puts(rust, "::");
        rust_put_name(rust, &name);
    }
}

static void rust_path(struct rust *rust, bool in_value)
{
    struct rust_name name;
    char tag = rust_next(rust);

    switch (rust->failed ? 0 : tag) {
    case 'C':
        name = rust_identifier(rust, true);
        if (!rust->failed)
            rust_put_name(rust, &name);
        break;
    case 'M':
    case 'X':
    case 'Y':
        if (tag != 'Y')
            rust_impl_path(rust);
        rust_puts(rust, "<");
        rust_nested(rust, rust_type);
        if (tag != 'M') {
            rust_puts(rust, " as ");
            rust_nested(rust, rust_type_path);
        }
        rust_puts(rust, ">");
        break;
    case 'N':
        rust_nested_path(rust, in_value);
        break;
    case 'I':
        rust_nested(rust, in_value ? rust_value_path : rust_type_path);
        if (in_value)
            rust_puts(rust, "::");
        rust_generic_arguments(rust);
        break;
    case 'B':
        rust_backref(rust, in_value ? rust_value_path : rust_type_path);
        break;
    default:
        rust->failed = true;
    }
}

static const char *rust_basic_type(char tag)
{
    static const char *const names[26] = {
        "i8",    "bool", "char", "f64", "str",  "f32",  NULL,  "u8", "isize",
        "usize", NULL,   "i32",  "u32", "i128", "u128", "_",   NULL, NULL,
        "i16",   "u16",  "()",   "...", NULL,   "i64",  "u64", "!"};

    return tag >= 'a' && tag <= 'z' ? names[tag - 'a'] : NULL;
}

/* binder: "for<'a, 'b> " */
static unsigned rust_binder(struct rust *rust)
{
    uint64_t count = rust_optional(rust, 'G');

    if (count > 26) {
        rust->failed = true;
        return 0;
    }
    if (count)
        rust_puts(rust, "for<");
    for (uint64_t i = 0; i < count; i++) {
        if (i)
            rust_puts(rust, ", ");
        rust->lifetimes++;
        rust_lifetime(rust, 1);
    }
    if (count)
        rust_puts(rust, "> ");
    return (unsigned)count;
}

static void rust_types(struct rust *rust, bool tuple)
{
    size_t count = 0;

    for (; !rust->failed && !rust_take(rust, 'E'); count++) {
        if (count)
            rust_puts(rust, ", ");
        rust_nested(rust, rust_type);
    }
    if (tuple && count == 1)
        rust_puts(rust, ",");
}

static void rust_abi(struct rust *rust)
{
    rust_puts(rust, "extern \"");
    if (rust_take(rust, 'C')) {
        rust_puts(rust, "C");
    } else {
        struct rust_name name = rust_identifier(rust, false);
        for (size_t i = 0; !rust->failed && i < name.length; i++)
            rust_put(rust, name.text[i] == '_' ? "-" : name.text + i, 1);
    }
    rust_puts(rust, "\" ");
}

static void rust_fn(struct rust *rust)
{
    unsigned bound = rust_binder(rust);

    if (rust_take(rust, 'U'))
        rust_puts(rust, "unsafe ");
    if (rust_take(rust, 'K'))
        rust_abi(rust);
    rust_puts(rust, "fn(");
    rust_types(rust, false);
    rust_puts(rust, ")");
    if (!rust_take(rust, 'u')) { /* returns nothing */
        rust_puts(rust, " -> ");
        rust_nested(rust, rust_type);
    }
    rust->lifetimes -= bound;
}

/* dyn-trait: a path, whose arguments stay open for what it binds. */
static void rust_dyn_trait(struct rust *rust)
{
    rust_nested(rust, rust_type_path);
    if (rust_peek(rust) != 'p')
        return;
    bool open =
        !rust->silent && rust->length && rust->out[rust->length - 1] == '>';
    if (open)
        rust->length--;
    for (bool first = !open; rust_take(rust, 'p'); first = false) {
        rust_puts(rust, first ? "<" : ", ");
        struct rust_name name = rust_identifier(rust, false);
        if (rust->failed)
            return;
        rust_put_name(rust, &name);
        rust_puts(rust, " = ");
        rust_nested(rust, rust_type);
    }
    rust_puts(rust, ">");
}

static void rust_dyn(struct rust *rust)
{
    rust_puts(rust, "dyn ");
    unsigned bound = rust_binder(rust);
    for (bool first = true; !rust->failed && !rust_take(rust, 'E');
         first = false) {
        if (!first)
            rust_puts(rust, " + ");
        rust_nested(rust, rust_dyn_trait);
    }
    rust->lifetimes -= bound;
    if (!rust_take(rust, 'L')) {
        rust->failed = true;
        return;
    }
    uint64_t lifetime = rust_base62(rust);
    if (lifetime) {
        rust_puts(rust, " + ");
        rust_lifetime(rust, lifetime);
    }
}

static void rust_reference(struct rust *rust, char tag)
{
    rust_puts(rust, "&");
    if (rust_take(rust, 'L')) {
        uint64_t lifetime = rust_base62(rust);
        if (lifetime) {
            rust_lifetime(rust, lifetime);
            rust_puts(rust, " ");
        }
    }
    if (tag == 'Q')
        rust_puts(rust, "mut ");
    rust_nested(rust, rust_type);
}

static void rust_type(struct rust *rust)
{
    char tag = rust_next(rust);
    const char *basic = rust_basic_type(tag);

    if (rust->failed)
        return;
    if (basic) {
        rust_puts(rust, basic);
        return;
    }
    switch (tag) {
    case 'A':
    case 'S':
        rust_puts(rust, "[");
        rust_nested(rust, rust_type);
        if (tag == 'A') {
            rust_puts(rust, "; ");
            rust_nested(rust, rust_const);
        }
        rust_puts(rust, "]");
        break;
    case 'T':
        rust_puts(rust, "(");
        rust_types(rust, true);
        rust_puts(rust, ")");
        break;
    case 'R':
    case 'Q':
        rust_reference(rust, tag);
        break;
    case 'P':
    case 'O':
        rust_puts(rust, tag == 'P' ? "*const " : "*mut ");
        rust_nested(rust, rust_type);
        break;
    case 'F':
        rust_nested(rust, rust_fn);
        break;
    case 'D':
        rust_nested(rust, rust_dyn);
        break;
    case 'B':
        rust_backref(rust, rust_type);
        break;
    default:
        rust->at--;
        rust_nested(rust, rust_type_path);
    }
}

/* const-data: hexadecimal digits up to "_". */
static bool rust_hex(struct rust *rust, uint64_t *value, size_t *from,
                     size_t *digits)
{
    *value = 0;
    *from = rust->at;
    for (*digits = 0; !rust->failed; ++*digits) {
        char c = rust_next(rust);
        if (c == '_')
            return true;
        if (!isdigit((unsigned char)c) && !(c >= 'a' && c <= 'f'))
            rust->failed = true;
        *value = *value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return false;
}

static void rust_put_const(struct rust *rust, char type, uint64_t value)
{
    if (type == 'b') {
        rust_puts(rust, value ? "true" : "false");
    } else if (type == 'c' && value >= ' ' && value < 0x7f) {
        char text[] = {'\'', (char)value, '\'', 0};
        rust_puts(rust, text);
    } else {
        rust_put_number(rust, value);
    }
}

static void rust_const(struct rust *rust)
{
    uint64_t value;
    size_t from, digits;
    char type = rust_next(rust);

    if (type == 'p') {
        rust_puts(rust, "_");
        return;
    }
    if (type == 'B') {
        rust_backref(rust, rust_const);
        return;
    }
    if (rust->failed || !strchr("abchijlmnostxy", type)) {
        rust->failed = true;
        return;
    }
    if (rust_take(rust, 'n'))
        rust_puts(rust, "-");
    if (!rust_hex(rust, &value, &from, &digits))
        return;
    if (digits <= 16) {
        rust_put_const(rust, type, value);
    } else {
        rust_puts(rust, "0x");
        rust_put(rust, rust->in + from, digits);
    }
}

static bool rust_v0(struct rust *rust)
{
    rust_path(rust, true);
    if (!rust->failed && isupper((unsigned char)rust_peek(rust))) {
        rust->silent = true; /* the crate that instantiated it */
        rust_path(rust, false);
        rust->silent = false;
    }
    return !rust->failed && rust->at == rust->size;
}

/* $LT$ and so on; "$u7b$" is a character by its number. */
static size_t rust_escape(struct rust *rust, const char *text, size_t length)
{
    static const struct {
        const char *from, *to;
    } escapes[] = {{"$SP$", "@"}, {"$BP$", "*"}, {"$RF$", "&"}, {"$LT$", "<"},
                   {"$GT$", ">"}, {"$LP$", "("}, {"$RP$", ")"}, {"$C$", ","}};

    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        size_t size = strlen(escapes[i].from);
        if (size <= length && !memcmp(text, escapes[i].from, size)) {
            rust_puts(rust, escapes[i].to);
            return size;
        }
    }
    unsigned value = 0;
    size_t at = 2;
    if (length < 4 || text[1] != 'u')
        return 0;
    while (at < length && at < 6 && isxdigit((unsigned char)text[at]))
        value = value * 16 + (unsigned)(isdigit((unsigned char)text[at])
                                            ? text[at] - '0'
                                            : (text[at] | 32) - 'a' + 10),
        at++;
    if (at >= length || text[at] != '$' || value < ' ' || value > '~')
        return 0;
    char c = (char)value;
    rust_put(rust, &c, 1);
    return at + 1;
}

static void rust_legacy_part(struct rust *rust, const char *text, size_t length)
{
    if (length >= 2 && text[0] == '_' && text[1] == '$') {
        text++;
        length--;
    }
    while (length) {
        size_t took = 1;
        if (*text == '$' && (took = rust_escape(rust, text, length)) == 0) {
            took = 1;
            rust_puts(rust, "$");
        } else if (length >= 2 && text[0] == '.' && text[1] == '.') {
            rust_puts(rust, "::");
            took = 2;
        } else if (*text != '$') {
            rust_put(rust, text, 1);
        }
        text += took;
        length -= took;
    }
}

static bool rust_is_hash(const char *text, size_t length)
{
    return length == 17 && *text == 'h' &&
           strspn(text + 1, "0123456789abcdef") >= 16;
}

/* Parts up to "E"; the last one must be the hash. */
static bool rust_legacy(struct rust *rust)
{
    struct rust_name last = {0};
    bool first = true;

    while (!rust->failed && !rust_take(rust, 'E')) {
        if (last.text) {
            if (!first)
                rust_puts(rust, "::");
            rust_legacy_part(rust, last.text, last.length);
            first = false;
        }
        if (!isdigit((unsigned char)rust_peek(rust)))
            return false;
        size_t length = 0;
        while (isdigit((unsigned char)rust_peek(rust)) && length <= rust->size)
            length = length * 10 + (size_t)(rust_next(rust) - '0');
        if (length > rust->size - rust->at)
            return false;
        last.text = rust->in + rust->at;
        last.length = length;
        rust->at += length;
    }
    return !rust->failed && !first && rust->at == rust->size &&
           rust_is_hash(last.text, last.length);
}

char *patas__demangle_rust(const char *name)
{
    bool v0 = name[1] == 'R';
    struct rust rust = {.in = name + (v0 ? 2 : 3)};

    if (!v0 && strncmp(name, "_ZN", 3))
        return NULL;
    rust.size = strlen(rust.in);
    /* Told by the last bytes, before any memory is taken. */
    if (!v0 && (rust.size < 20 || rust.in[rust.size - 1] != 'E' ||
                !rust_is_hash(rust.in + rust.size - 18, 17)))
        return NULL;
    rust.out = malloc(RUST_OUTPUT);
    if (!rust.out)
        return NULL;
    if (!(v0 ? rust_v0(&rust) : rust_legacy(&rust))) {
        free(rust.out);
        return NULL;
    }
    rust.out[rust.length] = 0;
    char *result = realloc(rust.out, rust.length + 1);
    return result ? result : rust.out;
}
