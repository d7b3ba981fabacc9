/* SPDX-License-Identifier: MIT */
/*
 * The control: the whole interface, and nothing is ever patched. What a bench
 * says about this backend is what the bench says about nothing.
 */
#include "patas.h"

#include <stdlib.h>
#include <string.h>

struct patas_patch {
    patas_fn target;
};
struct patas_batch {
    int unused;
};

unsigned patas_version(void)
{
    return 0;
}

patas_status patas_replace(patas_fn target, patas_fn replacement,
                           patas_patch **patch, patas_error *error)
{
    return patas_replace_with(target, replacement, NULL, patch, error);
}

patas_status patas_replace_with(patas_fn target, patas_fn replacement,
                                const patas_options *options,
                                patas_patch **patch, patas_error *error)
{
    (void)replacement, (void)options, (void)error;
    *patch = malloc(sizeof **patch);
    (*patch)->target = target;
    return PATAS_OK;
}

patas_fn patas_original(const patas_patch *patch)
{
    return patch->target;
}

patas_status patas_suspend(patas_patch *patch, patas_error *error)
{
    (void)patch, (void)error;
    return PATAS_OK;
}

patas_status patas_resume(patas_patch *patch, patas_error *error)
{
    (void)patch, (void)error;
    return PATAS_OK;
}

patas_status patas_restore(patas_patch *patch, patas_error *error)
{
    (void)patch, (void)error; /* kept: a batch may be dropped again */
    return PATAS_OK;
}

patas_status patas_restore_all(patas_error *error)
{
    (void)error;
    return PATAS_OK;
}

patas_batch *patas_batch_begin(patas_error *error)
{
    (void)error;
    return malloc(sizeof(patas_batch));
}

patas_status patas_batch_replace(patas_batch *batch, patas_fn target,
                                 patas_fn replacement, patas_patch **patch,
                                 patas_error *error)
{
    (void)batch;
    return patas_replace_with(target, replacement, NULL, patch, error);
}

patas_status patas_batch_replace_with(patas_batch *batch, patas_fn target,
                                      patas_fn replacement,
                                      const patas_options *options,
                                      patas_patch **patch, patas_error *error)
{
    (void)batch;
    return patas_replace_with(target, replacement, options, patch, error);
}

patas_status patas_batch_restore(patas_batch *batch, patas_patch *patch,
                                 patas_error *error)
{
    (void)batch;
    return patas_restore(patch, error);
}

patas_status patas_batch_commit(patas_batch *batch, patas_error *error)
{
    (void)error;
    free(batch);
    return PATAS_OK;
}

void patas_batch_abort(patas_batch *batch)
{
    free(batch);
}

patas_status patas_plan_with(patas_fn target, const patas_options *options,
                             patas_plan_info *info, patas_error *error)
{
    size_t size = info->size;
    (void)options, (void)error;
    memset(info, 0, size);
    info->size = size;
    info->target = info->entry = (uintptr_t)target;
    return PATAS_OK;
}

patas_status patas_plan(patas_fn target, patas_plan_info *info,
                        patas_error *error)
{
    return patas_plan_with(target, NULL, info, error);
}

patas_status patas_stats_read(patas_stats *stats)
{
    size_t size = stats->size;
    memset(stats, 0, size);
    stats->size = size;
    return PATAS_OK;
}

const char *patas_status_name(patas_status status)
{
    return status == PATAS_OK ? "PATAS_OK" : "an error";
}

const char *patas_form_name(patas_form form)
{
    (void)form;
    return "none";
}

size_t patas_error_text(const patas_error *error, char *text, size_t size)
{
    (void)error;
    if (size)
        text[0] = 0;
    return 0;
}
