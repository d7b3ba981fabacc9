/* SPDX-License-Identifier: MIT */
/*
 *     probe [--debuginfod] [--no-debug] [--path DIRS] [--why]
 *           [--swap FILE] MODULE SPEC...
 *
 * Loads a module if that can be, and prints what the library says of each
 * spec: for tests that are scripts, and for whoever wants to look. With --swap
 * the file takes the module's place on disk once it is loaded.
 */
#include <patas/symbols.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_why(const char *spec)
{
    patas_why_info *why;
    patas_status status = patas_why(spec, NULL, &why, NULL);

    printf("%s %s\n", spec, patas_status_name(status));
    if (status == PATAS_OK)
        fputs(why->text, stdout);
    patas_why_free(why);
    return status == PATAS_OK;
}

static int print_found(const char *spec)
{
    patas_found *found;
    patas_place *place;
    patas_status status = patas_find_all(spec, &found, NULL);

    printf("%s %s\n", spec, patas_status_name(status));
    for (size_t i = 0; found && i < found->count; i++) {
        const patas_symbol *symbol = &found->symbols[i];
        if (patas_describe(symbol->address, &place, NULL) == PATAS_OK)
            printf("    %s size %zu: %s\n", symbol->spec, symbol->size,
                   place->text);
        patas_place_free(place);
    }
    if (found && !found->count)
        printf("    %s\n", found->text);
    patas_found_free(found);
    return status == PATAS_OK;
}

static void print_unread(void)
{
    patas_foreign_list *list;

    if (patas_foreign_find(NULL, &list, NULL) != PATAS_OK)
        return;
    for (size_t i = 0; i < list->unread_count; i++)
        printf("unread %s\n", list->unread[i]);
    patas_foreign_free(list);
}

int main(int count, char **words)
{
    patas_setup setup = {sizeof setup, 0, NULL};
    const char *swap = NULL;
    int at = 1, why = 0, all = 1;

    for (; at < count && !strncmp(words[at], "--", 2); at++) {
        if (!strcmp(words[at], "--debuginfod"))
            setup.flags |= PATAS_SYMBOLS_DEBUGINFOD;
        else if (!strcmp(words[at], "--no-debug"))
            setup.flags |= PATAS_SYMBOLS_NO_DEBUG;
        else if (!strcmp(words[at], "--path") && at + 1 < count)
            setup.debug_path = words[++at];
        else if (!strcmp(words[at], "--swap") && at + 1 < count)
            swap = words[++at];
        else if (!strcmp(words[at], "--why"))
            why = 1;
    }
    if (at >= count || patas_symbols_setup(&setup, NULL) != PATAS_OK)
        return 2;
    if (!dlopen(words[at], RTLD_NOW))
        printf("%s\n", dlerror());
    if (swap && rename(swap, words[at]))
        perror(swap);
    if (swap)
        print_unread();
    for (at++; at < count; at++)
        all &= why ? print_why(words[at]) : print_found(words[at]);
    return all ? 0 : 1;
}
