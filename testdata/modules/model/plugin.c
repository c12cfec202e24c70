/*
 * model does what each record's value tells it: the module of the model-based tests. Two indexes, a
 * (0) and b (1). What a record yields is a function of its key and value, given here in full so that a
 * twin can be written from this comment alone.
 *
 *     value  = ""                       ok, no entries
 *            | "F" any                  filtered
 *            | "E" [code [message]]     error: code is one byte's value, 0 if absent; message is the rest
 *            | "D" rest                 (a, key, rest) twice: legal, one row
 *            | "X" rest                 (a, key, rest) and then (a, key, rest "!"): the host's duplicate_entry
 *            | "T" any                  traps
 *            | "S" any                  spins until the fuel is gone
 *            | "N" number any           number entries (a, "n/" i as 8 digits, key), i = 0, 1, ...
 *            | "K" rest                 (a, rest, key): a key of any bytes and length
 *            | "V" any                  (a, key, value), the whole value, not copied
 *            | "L" number [":"] commands  the commands' entries, each with a ttl of number nanoseconds
 *            | commands                 anything else
 *
 *     commands = command { ";" command }        in this order; the number of commands has no bound
 *     command  = ""                             nothing
 *              | ("a" | "b") name ["=" val]     (that index, name, val); name ends at the first "="
 *              | any other                      error, code 1, message "unknown command: " and the command;
 *                                               the record then has no entries
 *     number   = decimal digits, as many as there are; none is 0. At most 8 digits after N, and a ttl
 *                below 2^64, else the test is wrong, not the module.
 *
 * key is the source key. name, val and rest are raw bytes, and may be empty; name, val and command hold no ";".
 * Entries come in the order in which they are named. The same (index, name) may be named twice, with one val
 * or with two. Sources that name the same (index, name) make collisions.
 */
#include "foldrun.h"

enum { a, b };

static foldrun_bytes after(foldrun_bytes text, uint32_t n)
{
    return (foldrun_bytes){text.ptr + n, text.len - n};
}

/* cut gives what stands before the first c, or all of it, and makes rest what follows that c. */
static foldrun_bytes cut(foldrun_bytes text, uint8_t c, foldrun_bytes *rest)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] == c) {
            *rest = after(text, i + 1);
            return (foldrun_bytes){text.ptr, i};
        }
    *rest = after(text, text.len);
    return text;
}

static uint64_t number(foldrun_bytes *text)
{
    uint64_t n = 0;
    while (text->len > 0 && text->ptr[0] >= '0' && text->ptr[0] <= '9') {
        n = n * 10 + (text->ptr[0] - '0');
        *text = after(*text, 1);
    }
    return n;
}

static void many(uint64_t n, foldrun_bytes value)
{
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = foldrun_alloc(10);
        uint64_t rest = i;
        for (int at = 9; at > 1; at--, rest /= 10)
            p[at] = '0' + rest % 10;
        p[0] = 'n';
        p[1] = '/';
        foldrun_emit(a, (foldrun_bytes){p, 10}, value, 0);
    }
}

static void commands(foldrun_bytes text, uint64_t ttl)
{
    while (text.len > 0) {
        foldrun_bytes command = cut(text, ';', &text), val;
        if (command.len == 0)
            continue;
        if (command.ptr[0] != 'a' && command.ptr[0] != 'b') {
            foldrun_error(1, foldrun_concat(foldrun_lit("unknown command: "), command));
            return;
        }
        foldrun_bytes name = cut(after(command, 1), '=', &val);
        foldrun_emit(command.ptr[0] == 'a' ? a : b, name, val, ttl);
    }
}

static void transform(const foldrun_record *r)
{
    foldrun_bytes key = foldrun_key(r), value = foldrun_value(r);
    if (value.len == 0)
        return;
    foldrun_bytes rest = after(value, 1);
    uint64_t n;
    switch (value.ptr[0]) {
    case 'F':
        foldrun_skip();
        return;
    case 'E':
        foldrun_error(rest.len > 0 ? rest.ptr[0] : 0, rest.len > 0 ? after(rest, 1) : rest);
        return;
    case 'D':
        foldrun_emit(a, key, rest, 0);
        foldrun_emit(a, key, rest, 0);
        return;
    case 'X':
        foldrun_emit(a, key, rest, 0);
        foldrun_emit(a, key, foldrun_concat(rest, foldrun_lit("!")), 0);
        return;
    case 'T':
        __builtin_trap();
    case 'S':
        for (volatile int forever = 1; forever;)
            ;
        return;
    case 'N':
        many(number(&rest), key);
        return;
    case 'K':
        foldrun_emit(a, rest, key, 0);
        return;
    case 'V':
        foldrun_emit(a, key, value, 0);
        return;
    case 'L':
        n = number(&rest);
        if (rest.len > 0 && rest.ptr[0] == ':')
            rest = after(rest, 1);
        commands(rest, n);
        return;
    default:
        commands(value, 0);
    }
}
