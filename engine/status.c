/* SPDX-License-Identifier: MIT */
/*
 * Statuses and plans, and what they tell a person.
 *
 * A sentence is put together from two texts, so that every status goes with
 * every reason:
 *
 *     0x401136: no form fits: code at 0x401150 branches into the bytes ...
 *     '--+---'  '----+-----'  '-------------------+------------------
 *     object     status        reason: why; what to do
 *
 * In a text, `@` stands for the address in the way and `#` for the thread in
 * the way. The part behind ';' is the advice; a plan leaves it out. The texts
 * stand in switches without default, so that the compiler names a forgotten
 * one.
 */
#include <linux/errno.h>

#include "bytes.h"
#include "patas.h"

/* Text that is cut off at the end of its room, and counted beyond. */
struct patas__text {
    char *at;
    size_t room;   /* bytes at `at`, the final NUL included */
    size_t length; /* what the whole text has */
};

static void text_char(struct patas__text *text, char c)
{
    if (text->at && text->length + 1 < text->room)
        text->at[text->length] = c;
    text->length++;
}

static void text_string(struct patas__text *text, const char *string)
{
    while (*string)
        text_char(text, *string++);
}

static size_t text_end(struct patas__text *text)
{
    if (text->at && text->room)
        text->at[text->length < text->room ? text->length : text->room - 1] = 0;
    return text->length;
}

static void text_decimal(struct patas__text *text, uint64_t value)
{
    char digits[20];
    unsigned count = 0;

    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        text_char(text, digits[--count]);
}

static void text_digit(struct patas__text *text, unsigned value)
{
    text_char(text, (char)(value < 10 ? '0' + value : 'a' + value - 10));
}

static void text_hex(struct patas__text *text, uint64_t value)
{
    unsigned shift = 60;

    text_string(text, "0x");
    while (shift && !(value >> shift))
        shift -= 4;
    for (;; shift -= 4) {
        text_digit(text, (unsigned)(value >> shift) & 15);
        if (!shift)
            break;
    }
}

static void text_bytes(struct patas__text *text, const uint8_t *bytes,
                       size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        if (i)
            text_char(text, ' ');
        text_digit(text, bytes[i] >> 4);
        text_digit(text, bytes[i] & 15);
    }
}

unsigned patas_version(void)
{
    return PATAS_VERSION_MAJOR << 16 | PATAS_VERSION_MINOR << 8 |
           PATAS_VERSION_PATCH;
}

const char *patas_status_name(patas_status status)
{
    switch (status) {
    case PATAS_OK:
        return "PATAS_OK";
    case PATAS_ERR_ARGUMENT:
        return "PATAS_ERR_ARGUMENT";
    case PATAS_ERR_NOT_CODE:
        return "PATAS_ERR_NOT_CODE";
    case PATAS_ERR_NOT_FOUND:
        return "PATAS_ERR_NOT_FOUND";
    case PATAS_ERR_AMBIGUOUS:
        return "PATAS_ERR_AMBIGUOUS";
    case PATAS_ERR_NO_ROOM:
        return "PATAS_ERR_NO_ROOM";
    case PATAS_ERR_CANNOT_MOVE:
        return "PATAS_ERR_CANNOT_MOVE";
    case PATAS_ERR_CHANGED:
        return "PATAS_ERR_CHANGED";
    case PATAS_ERR_STALE:
        return "PATAS_ERR_STALE";
    case PATAS_ERR_UNLOADED:
        return "PATAS_ERR_UNLOADED";
    case PATAS_ERR_NO_MEMORY:
        return "PATAS_ERR_NO_MEMORY";
    case PATAS_ERR_BLOCKED:
        return "PATAS_ERR_BLOCKED";
    case PATAS_ERR_BUSY:
        return "PATAS_ERR_BUSY";
    case PATAS_ERR_DENIED:
        return "PATAS_ERR_DENIED";
    case PATAS_ERR_OS:
        return "PATAS_ERR_OS";
    case PATAS_ERR_UNSUPPORTED:
        return "PATAS_ERR_UNSUPPORTED";
    }
    return "unknown status";
}

const char *patas_form_name(patas_form form)
{
    switch (form) {
    case PATAS_FORM_NONE:
        return "none";
    case PATAS_FORM_ONE_INSTRUCTION:
        return "one instruction";
    case PATAS_FORM_KEPT_BYTES:
        return "kept bytes";
    case PATAS_FORM_TRAP_BYTES:
        return "trap bytes";
    case PATAS_FORM_SHORT_JUMP:
        return "short jump";
    case PATAS_FORM_PERMANENT_TRAP:
        return "permanent trap";
    case PATAS_FORM_SLOT:
        return "slot";
    case PATAS_FORM_COUNT:
        break;
    }
    return "unknown form";
}

/* Why a form was chosen, in one line. */
static const char *form_text(patas_form form)
{
    switch (form) {
    case PATAS_FORM_NONE:
        return "none fits";
    case PATAS_FORM_ONE_INSTRUCTION:
        return "the jump lies inside the first instruction, where nobody can "
               "stand";
    case PATAS_FORM_KEPT_BYTES:
        return "only the first instruction is written; the rest of the jump "
               "is the code that stood there";
    case PATAS_FORM_TRAP_BYTES:
        return "5 bytes are written; whoever stands between them traps and "
               "is carried on";
    case PATAS_FORM_SHORT_JUMP:
        return "2 bytes are written, which jump to the real jump in padding "
               "nearby";
    case PATAS_FORM_PERMANENT_TRAP:
        return "1 byte is written and traps at each call, about a "
               "microsecond each";
    case PATAS_FORM_SLOT:
        return "a function pointer is written, no code";
    case PATAS_FORM_COUNT:
        break;
    }
    return "this library does not know it";
}

/* "what: why; what to do" - the latter two serve where no reason is known. */
static const char *status_text(patas_status status)
{
    switch (status) {
    case PATAS_OK:
        return "no error";
    case PATAS_ERR_ARGUMENT:
        return "bad argument: it can't be meant like that; read what the "
               "call takes in patas.h";
    case PATAS_ERR_NOT_CODE:
        return "not a function's entry: no function is known to begin there; "
               "pass the address of a function";
    case PATAS_ERR_NOT_FOUND:
        return "not found: no function has that name; check how it is spelled "
               "and that its library is loaded";
    case PATAS_ERR_AMBIGUOUS:
        return "ambiguous: several functions have that name; say which by its "
               "address";
    case PATAS_ERR_NO_ROOM:
        return "no form of patch fits: its first bytes leave none; ask for a "
               "plan to see why each was passed by, or replace its callers";
    case PATAS_ERR_CANNOT_MOVE:
        return "its code can't be moved: it would not do the same at "
               "another address; replace its callers instead";
    case PATAS_ERR_CHANGED:
        return "changed by another: the bytes are not what patas wrote or "
               "read there; see who else patches this process";
    case PATAS_ERR_STALE:
        return "stale: the handle names no live patch; drop it";
    case PATAS_ERR_UNLOADED:
        return "unloaded: its module is gone, and the patch with it; drop the "
               "handle";
    case PATAS_ERR_NO_MEMORY:
        return "no memory: none was to be had, or none in reach of the "
               "target; restore what is no longer needed or raise the limit "
               "on mappings or memory";
    case PATAS_ERR_BLOCKED:
        return "a thread is in the way: # blocks SIGILL or SIGTRAP (on i386 "
               "SIGSEGV or SIGTRAP), so that "
               "no trap may meet it; unblock them there and try again";
    case PATAS_ERR_BUSY:
        return "busy: patas is at work in this thread; try again later";
    case PATAS_ERR_DENIED:
        return "denied: the system forbids to write code; look at seccomp, "
               "SELinux and PR_SET_MDWE";
    case PATAS_ERR_OS:
        return "system error: a system call failed; look the error up, and "
               "try again";
    case PATAS_ERR_UNSUPPORTED:
        return "refused on principle: patching it could not be made safe; "
               "replace its callers instead";
    }
    return "unknown status: this library does not know it; use patas.h and "
           "the library of one version";
}

/* "why; what to do", or NULL. A list, and long as the list it answers. */
/* NOLINTNEXTLINE(readability-function-size) */
static const char *reason_text(patas_reason reason)
{
    switch (reason) {
    case PATAS_REASON_NONE:
        break;
    case PATAS_REASON_NULL:
        return "a null pointer was given; pass a valid one";
    case PATAS_REASON_OPTIONS:
        return "a size, a flag or an option that this library does not know; "
               "set size by sizeof, and only flags that patas.h names";
    case PATAS_REASON_SAME:
        return "the replacement is the target itself; give another function";
    case PATAS_REASON_CYCLE:
        return "the replacements would run in a ring; restore the patch at @ "
               "first, or let the replacement call an original";
    case PATAS_REASON_UNMAPPED:
        return "nothing is mapped at @; check the address, and whether its "
               "library is still loaded";
    case PATAS_REASON_NOT_EXECUTABLE:
        return "@ is stack, heap or data, not code; pass the function "
               "itself, not the address of a pointer to it";
    case PATAS_REASON_MID_FUNCTION:
        return "it lies inside a function, not at its entry; pass the entry";
    case PATAS_REASON_MID_INSTRUCTION:
        return "it lies inside an instruction; pass a function's entry";
    case PATAS_REASON_INVALID_CODE:
        return "the bytes at @ are no valid instruction; check that a "
               "function of this processor begins there";
    case PATAS_REASON_TRUNCATED:
        return "the mapping ends inside the instruction at @; check the "
               "address";
    case PATAS_REASON_VDSO:
        return "it is the kernel's vDSO, which the system owns; replace its "
               "callers, or the pointer by which they call it";
    case PATAS_REASON_SHARED_FILE:
        return "it is a shared mapping of a file, and writing would change "
               "the file; map it with MAP_PRIVATE";
    case PATAS_REASON_RSEQ:
        return "the restartable sequence at @ may not be changed; replace "
               "its callers instead";
    case PATAS_REASON_RETURNS_TWICE:
        return "it returns twice or keeps its caller's frame, as setjmp and "
               "vfork do; set PATAS_PASS_THROUGH if the replacement never "
               "calls the original or only jumps to it";
    case PATAS_REASON_PATAS_ITSELF:
        return "it is code of patas itself; replace whoever calls it";
    case PATAS_REASON_LOADER:
        return "it is start code of the dynamic loader; replace a function "
               "that runs later";
    case PATAS_REASON_FIRST_TOO_SHORT:
        return "the first instruction is too short for the jump; replace its "
               "callers instead";
    case PATAS_REASON_NO_ADDRESS:
        return "the addresses that the kept bytes allow for an island are "
               "taken; allow more forms, or patch earlier";
    case PATAS_REASON_BUDGET:
        return "the budget of mappings is used up; allow forms with traps";
    case PATAS_REASON_STRICT:
        return "PATAS_STRICT forbids traps; leave it out, if traps may be";
    case PATAS_REASON_BRANCH_IN:
        return "a branch may enter the bytes at @; replace its callers, or "
               "set PATAS_ALLOW_TRAP";
    case PATAS_REASON_RETURN_IN:
        return "a call or system call returns to @, inside the bytes; "
               "replace its callers, or set PATAS_ALLOW_TRAP";
    case PATAS_REASON_TOO_SHORT:
        return "the function ends before the jump would; replace its "
               "callers, or set PATAS_ALLOW_TRAP";
    case PATAS_REASON_UNIT:
        return "the bytes cross a line, and no single store writes them; "
               "set PATAS_ALLOW_TRAP, or align functions to 16 when "
               "compiling";
    case PATAS_REASON_TAKEN:
        return "another patch owns the bytes at @; restore that one first";
    case PATAS_REASON_NO_PADDING:
        return "no padding that could hold the jump is in reach; replace its "
               "callers, or set PATAS_ALLOW_TRAP";
    case PATAS_REASON_TRAP_NOT_ALLOWED:
        return "only a permanent trap is left, which was not allowed; set "
               "PATAS_ALLOW_TRAP if a microsecond a call may be";
    case PATAS_REASON_CANNOT_MOVE:
        return "the instruction at @ would not do the same elsewhere; "
               "replace its callers instead";
    case PATAS_REASON_OUT_OF_REACH:
        return "what the instruction at @ refers to is out of reach of any "
               "island; replace its callers instead";
    case PATAS_REASON_SHADOW_STACK:
        return "the call at @ can't be moved under a shadow stack; replace "
               "its callers instead";
    case PATAS_REASON_BREAKPOINT:
        return "a breakpoint stands at @; delete it in the debugger, and try "
               "again";
    case PATAS_REASON_FOREIGN_PATCH:
        return "the bytes at @ were written by somebody else; take that "
               "patch away first, by whoever made it";
    case PATAS_REASON_THREAD_BLOCKS:
        return "# blocks SIGILL or SIGTRAP (on i386 SIGSEGV or SIGTRAP), and a "
               "trap would kill it; "
               "unblock them there and try again";
    case PATAS_REASON_NO_PTRACE:
        return "# blocks SIGILL or SIGTRAP (on i386 SIGSEGV or SIGTRAP) and "
               "may "
               "not be held by ptrace "
               "meanwhile; allow ptrace (a debugger, Yama, seccomp or "
               "PR_SET_DUMPABLE may forbid it), or unblock them there";
    case PATAS_REASON_NO_TRAP_HANDLER:
        return "the handler for SIGILL and SIGTRAP (on i386 SIGSEGV and "
               "SIGTRAP) can't be installed; allow "
               "rt_sigaction in the seccomp filter";
    case PATAS_REASON_NO_MEMBARRIER:
        return "the processors can't be made to see new code; allow "
               "membarrier or sched_setaffinity in the seccomp filter";
    case PATAS_REASON_NO_WRITE:
        return "neither mprotect nor /proc/self/mem may write code; allow one "
               "of them (seccomp, SELinux or PR_SET_MDWE may forbid it)";
    case PATAS_REASON_RESTORED:
        return "the patch was restored before; drop the handle";
    case PATAS_REASON_REPLACEMENT_GONE:
        return "the module of its replacement was unloaded; restore patches "
               "before their replacements are unloaded";
    case PATAS_REASON_BATCH_ENDED:
        return "the batch was committed or aborted before; begin another";
    case PATAS_REASON_IN_PATAS:
        return "a signal handler interrupted patas and called it; call again "
               "when the handler has returned";
    case PATAS_REASON_LIMIT:
        return "that is more than the library counts; restore what is no "
               "longer needed, or split the batch";
    case PATAS_REASON_PROTECTION:
        return "the protection of the page at @ can't be found out; let "
               "/proc be readable";
    case PATAS_REASON_ALIGNMENT:
        return "a function pointer in data lies at a multiple of its size; "
               "pass the address of the pointer itself";
    case PATAS_REASON_CONVENTION:
        return "the code at @ reads x16 or x17, which an ordinary function "
               "is not given; patch one that is called from C";
    case PATAS_REASON_PENDING:
        return "its batch is not committed yet; commit or abort that first";
    }
    return NULL;
}

static const char *errno_text(int error)
{
    switch (error) {
    case EPERM:
        return "EPERM, operation not permitted";
    case ENOENT:
        return "ENOENT, no such file";
    case ESRCH:
        return "ESRCH, no such process";
    case EINTR:
        return "EINTR, interrupted";
    case EIO:
        return "EIO, input/output error";
    case EBADF:
        return "EBADF, bad file descriptor";
    case EAGAIN:
        return "EAGAIN, try again";
    case ENOMEM:
        return "ENOMEM, out of memory";
    case EACCES:
        return "EACCES, permission denied";
    case EFAULT:
        return "EFAULT, bad address";
    case EBUSY:
        return "EBUSY, busy";
    case EEXIST:
        return "EEXIST, exists already";
    case EINVAL:
        return "EINVAL, invalid argument";
    case ENFILE:
        return "ENFILE, too many open files in the system";
    case EMFILE:
        return "EMFILE, too many open files";
    case ENOSPC:
        return "ENOSPC, no space left";
    case ENOSYS:
        return "ENOSYS, no such system call";
    case EOPNOTSUPP:
        return "EOPNOTSUPP, not supported";
    case ETIMEDOUT:
        return "ETIMEDOUT, timed out";
    }
    return NULL;
}

static void text_errno(struct patas__text *text, int error)
{
    const char *name = errno_text(error);

    if (!error)
        return;
    text_string(text, " (");
    if (name) {
        text_string(text, name);
    } else {
        text_string(text, "system error ");
        if (error < 0)
            text_char(text, '-');
        text_decimal(text, error < 0 ? -(uint64_t)error : (uint64_t)error);
    }
    text_char(text, ')');
}

/* `@` in a text; as its subject the object of the sentence is not named again.
 * What no stage named is said to be unknown, not to be 0. */
static void text_address(struct patas__text *text, const patas_error *error,
                         bool subject)
{
    uintptr_t address = error->address ? error->address : error->target;

    if (subject && address == error->target)
        text_string(text, "it");
    else if (address)
        text_hex(text, address);
    else
        text_string(text, "an unknown address");
}

/* `#` in a text. */
static void text_thread(struct patas__text *text, const patas_error *error)
{
    if (error->tid <= 0) {
        text_string(text, "a thread");
        return;
    }
    text_string(text, "thread ");
    text_decimal(text, (uint64_t)error->tid);
}

/* A text with its `@` and `#` filled in, up to `end`, or all of it if 0. */
static const char *text_filled(struct patas__text *text, const char *string,
                               char end, const patas_error *error)
{
    const char *start = string;

    for (; *string && *string != end; string++) {
        if (*string == '@')
            text_address(text, error, string == start);
        else if (*string == '#')
            text_thread(text, error);
        else
            text_char(text, *string);
    }
    return string;
}

/* What the sentence is about: the target, or what else was in hand. */
static void text_object(struct patas__text *text, const patas_error *error)
{
    if (error->target)
        text_hex(text, error->target);
    else if (error->reason == PATAS_REASON_OPTIONS)
        text_string(text, "options");
    else if (error->reason == PATAS_REASON_BATCH_ENDED)
        text_string(text, "batch");
    else if (error->status == PATAS_ERR_STALE ||
             error->status == PATAS_ERR_UNLOADED)
        text_string(text, "patch");
    else if (error->status == PATAS_ERR_BUSY ||
             error->status == PATAS_ERR_ARGUMENT)
        text_string(text, "call");
    else
        text_string(text, "target");
    text_string(text, ": ");
}

/*
 * patas_restore_all() goes on behind what it can't restore, so that two
 * statuses that a restore meets speak of that one place alone.
 */
static const char *unchanged_text(patas_status status)
{
    if (status == PATAS_ERR_CHANGED || status == PATAS_ERR_UNLOADED)
        return ". Nothing was changed there.";
    return ". Nothing was changed.";
}

size_t patas_error_text(const patas_error *error, char *text, size_t size)
{
    struct patas__text out = {text, size, 0};
    const char *what, *why;

    if (!error || error->status == PATAS_OK) {
        text_string(&out, "No error.");
        return text_end(&out);
    }
    text_object(&out, error);
    what = status_text(error->status);
    why = reason_text((patas_reason)error->reason);
    what = text_filled(&out, what, ':', error);
    text_string(&out, ": ");
    why = text_filled(&out, why ? why : what + 2, ';', error);
    text_errno(&out, error->os_errno);
    text_filled(&out, why, 0, error);
    text_string(&out, unchanged_text(error->status));
    return text_end(&out);
}

/* "  before      48 89 f8 ..." */
static void text_label(struct patas__text *text, const char *label)
{
    size_t column = text->length;

    text_string(text, "\n  ");
    text_string(text, label);
    while (text->length < column + 15)
        text_char(text, ' ');
}

static bool any_byte(const uint8_t *bytes, size_t size)
{
    while (size--)
        if (bytes[size])
            return true;
    return false;
}

static void text_passed_by(struct patas__text *text,
                           const patas_plan_info *info)
{
    patas_error error = {.target = info->entry, .address = info->in_the_way};
    unsigned form;

    for (form = PATAS_FORM_ONE_INSTRUCTION; form < PATAS_FORM_SLOT; form++) {
        const char *why = reason_text((patas_reason)info->passed_by[form]);

        if (!info->passed_by[form] || form == (unsigned)info->form)
            continue;
        text_label(text, "passed by");
        text_string(text, patas_form_name((patas_form)form));
        text_string(text, ": ");
        text_filled(text, why ? why : "for an unknown reason", ';', &error);
    }
}

static void text_where(struct patas__text *text, const patas_plan_info *info)
{
    text_hex(text, info->entry ? info->entry : info->target);
    text_string(text, ": ");
    text_string(text, info->form == PATAS_FORM_NONE
                          ? "can't be patched"
                          : patas_form_name(info->form));
    if (info->target != info->entry && info->entry) {
        text_label(text, "asked");
        text_hex(text, info->target);
        text_string(text, ", which leads to this function");
    }
    text_label(text, "extent");
    if (info->extent) {
        text_decimal(text, info->extent);
        text_string(text, " bytes");
    } else {
        text_string(text, "unknown");
    }
    text_string(text, ", padding behind it ");
    text_decimal(text, info->padding);
}

/* What would be there. Nothing of it holds where no form fits. */
static void text_outcome(struct patas__text *text, const patas_plan_info *info)
{
    text_label(text, "written");
    text_decimal(text, info->written);
    text_string(text, info->written == 1 ? " byte" : " bytes");
    text_string(text, "; code moved: ");
    text_decimal(text, info->moved);
    text_label(text, "after");
    text_bytes(text, info->after, sizeof info->after);
    text_label(text, "island");
    if (info->island)
        text_hex(text, info->island);
    else
        text_string(text, "not placed yet");
}

size_t patas_plan_text(const patas_plan_info *info, char *text, size_t size)
{
    struct patas__text out = {text, size, 0};
    patas_plan_info plan = {0};

    if (!info || info->size < sizeof info->size) {
        text_string(&out, "No plan.");
        return text_end(&out);
    }
    /* A caller of an older or newer patas.h has another size. */
    memcpy(&plan, info, info->size < sizeof plan ? info->size : sizeof plan);
    text_where(&out, &plan);
    text_label(&out, "form");
    if (plan.form == PATAS_FORM_NONE &&
        !any_byte(plan.passed_by, sizeof plan.passed_by))
        text_string(&out, "none was looked for; the error says why");
    else
        text_string(&out, form_text(plan.form));
    text_passed_by(&out, &plan);
    if (any_byte(plan.before, sizeof plan.before)) { /* else never read */
        text_label(&out, "before");
        text_bytes(&out, plan.before, sizeof plan.before);
    }
    if (plan.form != PATAS_FORM_NONE)
        text_outcome(&out, &plan);
    text_label(&out, "patches");
    text_decimal(&out, plan.patches);
    text_string(&out, " on it now");
    return text_end(&out);
}
