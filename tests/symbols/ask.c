/* SPDX-License-Identifier: MIT */
/*
 *     ask [MODULE]...                         questions on standard input
 *     LD_PRELOAD=libask.so PROGRAM            questions in $PATAS_ASK
 *
 * What patas_why() counts, for tests that are scripts. A question is a line,
 * SPEC or SPEC=REPLACEMENT; so is an answer:
 *
 *     called PATAS_OK CALL=3 TAIL_CALL=1
 *
 * As a library it asks within a program that knows nothing of it, which then
 * ends.
 */
#include <patas/symbols.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kinds[PATAS_WHY_COUNT] = {
    "INLINED", "CALL",   "TAIL_CALL", "DEVIRTUALIZED", "CLONE",  "FOLDED",
    "ALIAS",   "BYPASS", "FAMILY",    "VERSION",       "COPY",   "VDSO",
    "TYPE",    "IPA_RA", "GONE",      "NO_DEBUG_INFO", "REFUSED"};

static void ask(char *question)
{
    patas_fn replacement = NULL;
    patas_why_info *why;
    char *other = strchr(question, '=');

    if (other)
        *other++ = 0;
    if (other && patas_find(other, &replacement, NULL) != PATAS_OK) {
        printf("%s=%s no such replacement\n", question, other);
        return;
    }
    patas_status status = patas_why(question, replacement, &why, NULL);
    printf("%s%s%s %s", question, other ? "=" : "", other ? other : "",
           patas_status_name(status));
    for (int i = 0; why && i < PATAS_WHY_COUNT; i++) {
        if (why->count[i])
            printf(" %s=%zu", kinds[i], why->count[i]);
    }
    printf("\n");
    patas_why_free(why);
}

static void ask_all(char *questions)
{
    char *rest = NULL;

    for (char *one = strtok_r(questions, "\n", &rest); one;
         one = strtok_r(NULL, "\n", &rest))
        ask(one);
    fflush(stdout);
}

#ifdef ASK_PRELOADED

__attribute__((constructor)) static void begin(void)
{
    const char *questions = getenv("PATAS_ASK");
    char *copy = questions ? strdup(questions) : NULL;

    if (!copy)
        return;
    ask_all(copy);
    _exit(0);
}

#else

int main(int count, char **words)
{
    static char questions[65536];

    for (int i = 1; i < count; i++) {
        if (!dlopen(words[i], RTLD_NOW | RTLD_LOCAL)) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
    }
    size_t got = fread(questions, 1, sizeof questions - 1, stdin);
    questions[got] = 0;
    ask_all(questions);
    return 0;
}

#endif
