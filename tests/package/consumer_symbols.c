/* SPDX-License-Identifier: MIT */
/* A user's program: ends with 0 if an installed libpatas-symbols finds a
 * function, says something about it, and replaces it by name. */
#include <patas/symbols.h>
#include <stdio.h>
#include <string.h>

static __attribute__((noipa)) int parse_line(int x)
{
    return x + 1;
}

static int other_line(int x)
{
    return x + 100;
}

int main(void)
{
    patas_why_info *why;
    patas_found *found;
    patas_patch *patch;
    patas_error error;
    int during;

    if (patas_why("parse_line", (patas_fn)other_line, &why, &error) != PATAS_OK)
        return 1;
    if (!strstr(why->text, "parse_line"))
        return 2;
    patas_why_free(why);
    if (patas_replace_name("parse_line", (patas_fn)other_line, NULL, &patch,
                           &error) != PATAS_OK)
        return 3;
    during = parse_line(1);
    if (patas_restore(patch, &error) != PATAS_OK)
        return 4;
    if (patas_find_all("parse_lien", &found, NULL) != PATAS_ERR_NOT_FOUND)
        return 5;
    puts(found->text);
    if (!strstr(found->text, "Did you mean parse_line"))
        return 6;
    patas_found_free(found);
    return !(during == 101 && parse_line(1) == 2);
}
