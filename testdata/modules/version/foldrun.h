/*
 * foldrun.h: write a foldrun plugin in C. ABI version 1. One file, no libc, nothing to link.
 *
 *     #include "foldrun.h"
 *
 *     static void transform(const foldrun_record *r)
 *     {
 *         foldrun_emit(0, foldrun_key(r), foldrun_value(r), 0);
 *     }
 *
 *     clang-19 --target=wasm32 -ffreestanding -O2 -mbulk-memory -nostdlib \
 *         -Wl,--no-entry -Wl,--strip-all -Wl,--stack-first -o plugin.wasm plugin.c
 *
 * transform says what one record yields now; the host compares that with what the record yielded
 * before and stores the difference. It must depend on the record and the config alone: a static
 * variable that changes from record to record is a bug, since the host makes and drops instances
 * as it likes.
 *
 * The memory, lowest address first:
 *
 *     stack | data | arena | what foldrun_keep keeps | out frame, scratch
 *
 * Invariant: every call into the module starts the last part afresh, so nothing is ever freed and
 * memory stays as large as the dearest call needed. The arena is the in frame's; whatever points
 * into it, or into scratch, is valid until transform's call returns and the host has read it. So
 * keys and values that are emitted may point anywhere: into the record, into scratch, or at
 * constants. They may not point at a local variable of transform.
 */
#ifndef FOLDRUN_H
#define FOLDRUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __wasm_bulk_memory__
#error "foldrun.h: compile with -mbulk-memory (clang would turn memory.copy into loops, 3 times slower)"
#endif

#define FOLDRUN_API static inline __attribute__((unused))
#define FOLDRUN_EXPORT(name) __attribute__((export_name(#name), used))

/* ---- bytes ---------------------------------------------------------------------------------- */

/* A span of memory, owned by nobody. ptr is NULL where something is absent; an empty span may have any ptr. */
typedef struct {
    const uint8_t *ptr;
    uint32_t len;
} foldrun_bytes;

/* foldrun_lit("text") is a string literal as bytes, without its NUL. */
#define foldrun_lit(text) ((foldrun_bytes){(const uint8_t *)("" text), sizeof(text) - 1})

FOLDRUN_API bool foldrun_equal(foldrun_bytes a, foldrun_bytes b)
{
    return a.len == b.len && __builtin_memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* foldrun_equal_text compares bytes with a NUL-terminated string. */
FOLDRUN_API bool foldrun_equal_text(foldrun_bytes a, const char *text)
{
    for (uint32_t i = 0; i < a.len; i++)
        if (text[i] == '\0' || (uint8_t)text[i] != a.ptr[i])
            return false;
    return text[a.len] == '\0';
}

/* ---- records -------------------------------------------------------------------------------- */

#define FOLDRUN_PUT 1
#define FOLDRUN_DELETE 2 /* 2 and 3 only if the manifest wants "delete"; their value is empty */
#define FOLDRUN_PURGE 3

/*
 * One record of the in frame, as its bytes lie there. seq and time (nanoseconds since 1970) and op
 * are there to read; for the rest, whose offsets count from the frame's start, use the functions below.
 */
typedef struct {
    uint64_t seq;
    int64_t time;
    uint32_t key_at, key_len;
    uint32_t value_at, value_len;
    uint32_t subject_at, subject_len;
    uint32_t header_first, header_count;
    uint8_t op;
    uint8_t zero[15];
} foldrun_record;

typedef struct {
    uint32_t magic;
    uint16_t header_size, record_size;
    uint32_t records;
    uint32_t headers, headers_at;
    uint32_t length;
    uint32_t progress;
    uint32_t flags;
} foldrun__in;

typedef struct {
    uint32_t name_at, name_len, value_at, value_len;
} foldrun__header;

_Static_assert(sizeof(foldrun__in) == 32 && offsetof(foldrun__in, progress) == 24, "in header");
_Static_assert(sizeof(foldrun_record) == 64 && offsetof(foldrun_record, op) == 48, "in record");

static foldrun__in *foldrun__frame; /* the in frame of this call */

FOLDRUN_API foldrun_bytes foldrun__at(uint32_t offset, uint32_t len)
{
    return (foldrun_bytes){(const uint8_t *)foldrun__frame + offset, len};
}

/* The KV key; in a stream the subject, or, with keying = "message", the seq in 8 bytes, big-endian. */
FOLDRUN_API foldrun_bytes foldrun_key(const foldrun_record *r) { return foldrun__at(r->key_at, r->key_len); }

FOLDRUN_API foldrun_bytes foldrun_value(const foldrun_record *r) { return foldrun__at(r->value_at, r->value_len); }

/* The message's whole subject, "$KV.BUCKET.key" for a KV bucket. */
FOLDRUN_API foldrun_bytes foldrun_subject(const foldrun_record *r) { return foldrun__at(r->subject_at, r->subject_len); }

/* foldrun_header_at gives the i-th header, in the message's order; i < r->header_count. */
FOLDRUN_API void foldrun_header_at(const foldrun_record *r, uint32_t i, foldrun_bytes *name, foldrun_bytes *value)
{
    const foldrun__header *h =
        (const foldrun__header *)((const uint8_t *)foldrun__frame + foldrun__frame->headers_at) + r->header_first + i;
    *name = foldrun__at(h->name_at, h->name_len);
    *value = foldrun__at(h->value_at, h->value_len);
}

/* foldrun_header gives the first value of a header. Names are compared as NATS does, case included. */
FOLDRUN_API bool foldrun_header(const foldrun_record *r, const char *name, foldrun_bytes *value)
{
    foldrun_bytes have;
    for (uint32_t i = 0; i < r->header_count; i++) {
        foldrun_header_at(r, i, &have, value);
        if (foldrun_equal_text(have, name))
            return true;
    }
    return false;
}

/* ---- memory --------------------------------------------------------------------------------- */

#define FOLDRUN__PAGE 65536u
#define FOLDRUN__MOST (1u << 30) /* no single thing is larger: sums of a few never overflow */

static uint32_t foldrun__arena, foldrun__arena_len;
/* What scratch is cut from: [low, end), free from top on. It adjoins the arena, unless kept bytes lie between. */
static uint32_t foldrun__low, foldrun__top, foldrun__end;

FOLDRUN_API uint32_t foldrun__pages(uint32_t bytes) { return (bytes + FOLDRUN__PAGE - 1) / FOLDRUN__PAGE; }

/* foldrun__claim gets fresh pages at the end of memory: their address, or 0. */
FOLDRUN_API uint32_t foldrun__claim(uint32_t bytes)
{
    size_t page = __builtin_wasm_memory_grow(0, foldrun__pages(bytes));
    return page == (size_t)-1 ? 0 : (uint32_t)page * FOLDRUN__PAGE;
}

/* Does our part still end where memory ends? A libc's malloc, where there is one, may have grown it too. */
FOLDRUN_API bool foldrun__last(void)
{
    return foldrun__end != 0 && __builtin_wasm_memory_size(0) * FOLDRUN__PAGE == foldrun__end;
}

/* foldrun__more makes scratch hold len bytes more, in place if it can be. */
static __attribute__((noinline, unused)) void foldrun__more(uint32_t len)
{
    bool extend = foldrun__last();
    uint32_t missing = extend ? len - (foldrun__end - foldrun__top) : len;
    uint32_t at = len > FOLDRUN__MOST ? 0 : foldrun__claim(missing);
    if (at == 0)
        __builtin_trap();
    if (!extend)
        foldrun__low = foldrun__top = at;
    foldrun__end = at + foldrun__pages(missing) * FOLDRUN__PAGE;
}

/*
 * foldrun_alloc gives len bytes of scratch, 8-aligned, not cleared, valid like the arena. It never
 * returns NULL: without memory it traps, and the host judges the record at hand by itself.
 */
FOLDRUN_API void *foldrun_alloc(uint32_t len)
{
    if (len > FOLDRUN__MOST)
        __builtin_trap();
    len = (len + 7) & ~7u;
    if (len > foldrun__end - foldrun__top)
        foldrun__more(len);
    void *p = (void *)foldrun__top;
    foldrun__top += len;
    return p;
}

/* foldrun_join puts n spans into one, in scratch; foldrun_concat(a, b, ...) says it in a line. */
FOLDRUN_API foldrun_bytes foldrun_join(const foldrun_bytes *parts, uint32_t n)
{
    uint64_t len = 0;
    for (uint32_t i = 0; i < n; i++)
        len += parts[i].len;
    if (len > FOLDRUN__MOST)
        __builtin_trap();
    uint8_t *p = foldrun_alloc((uint32_t)len);
    foldrun_bytes joined = {p, (uint32_t)len};
    for (uint32_t i = 0; i < n; i++) {
        __builtin_memcpy(p, parts[i].ptr, parts[i].len);
        p += parts[i].len;
    }
    return joined;
}

#define foldrun_concat(...) \
    foldrun_join((const foldrun_bytes[]){__VA_ARGS__}, sizeof((const foldrun_bytes[]){__VA_ARGS__}) / sizeof(foldrun_bytes))

/* foldrun_decimal writes a number in scratch, in decimal. */
FOLDRUN_API foldrun_bytes foldrun_decimal(int64_t n)
{
    uint8_t *end = (uint8_t *)foldrun_alloc(24) + 24, *p = end;
    uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
    do
        *--p = '0' + rest % 10;
    while (rest /= 10);
    if (n < 0)
        *--p = '-';
    return (foldrun_bytes){p, (uint32_t)(end - p)};
}

/* ---- what a record yields ------------------------------------------------------------------- */

enum { foldrun__ok = 1, foldrun__filtered = 2, foldrun__failed = 3 };

typedef struct {
    uint32_t magic;
    uint16_t header_size, result_size, entry_size, zero0;
    uint32_t results, entries, flags;
    uint64_t zero1;
} foldrun__out;

typedef struct {
    uint8_t status, zero;
    uint16_t code;
    uint32_t entries;
    uint32_t message_at, message_len;
} foldrun__result;

typedef struct {
    uint16_t index, flags;
    uint32_t key_at, key_len;
    uint32_t value_at, value_len;
    uint32_t zero;
    uint64_t ttl;
} foldrun__entry;

_Static_assert(sizeof(foldrun__out) == 32 && offsetof(foldrun__out, entries) == 16, "out header");
_Static_assert(sizeof(foldrun__result) == 16 && sizeof(foldrun__entry) == 32, "out tables");
_Static_assert(offsetof(foldrun__entry, ttl) == 24, "out entry");

/* The out frame being written: header, a result for each record, entries; room for more entries than there are. */
static foldrun__out *foldrun__frame_out;
static foldrun__entry *foldrun__entries;
static uint32_t foldrun__entry_count, foldrun__entry_room;
static foldrun__result foldrun__now; /* of the record at hand */

FOLDRUN_API uint32_t foldrun__out_len(uint32_t results, uint32_t entries) { return 32 + 16 * results + 32 * entries; }

/* foldrun__table makes the out frame, or moves it to where there is room for more entries. */
static __attribute__((noinline)) void foldrun__table(uint32_t results, uint32_t room)
{
    if (room > FOLDRUN__MOST / 64 || results > FOLDRUN__MOST / 64)
        __builtin_trap();
    uint8_t *to = foldrun_alloc(foldrun__out_len(results, room));
    if (foldrun__entry_count > 0)
        __builtin_memcpy(to, foldrun__frame_out, foldrun__out_len(results, foldrun__entry_count));
    foldrun__frame_out = (foldrun__out *)to;
    foldrun__entries = (foldrun__entry *)(to + foldrun__out_len(results, 0));
    foldrun__entry_room = room;
}

/*
 * foldrun_emit adds an entry: index is the ordinal in the manifest's list; ttl is in nanoseconds
 * from the record's time, 0 for none. Key and value are not copied. Keys and values may be empty;
 * a record that emits the same key of an index twice must emit the same value and ttl.
 */
FOLDRUN_API void foldrun_emit(uint16_t index, foldrun_bytes key, foldrun_bytes value, uint64_t ttl)
{
    if (foldrun__now.status != foldrun__ok)
        return;
    if (foldrun__entry_count == foldrun__entry_room)
        foldrun__table(foldrun__frame->records, 2 * foldrun__entry_room);
    foldrun__entry *e = &foldrun__entries[foldrun__entry_count++];
    *e = (foldrun__entry){
        .index = index,
        .key_at = (uint32_t)key.ptr,
        .key_len = key.len,
        .value_at = (uint32_t)value.ptr,
        .value_len = value.len,
        .ttl = ttl,
    };
}

/*
 * foldrun_skip says that the record is filtered out: it yields nothing, on purpose. What it emitted
 * is withdrawn, what it emits afterwards is not taken.
 */
FOLDRUN_API void foldrun_skip(void)
{
    if (foldrun__now.status == foldrun__ok)
        foldrun__now.status = foldrun__filtered;
}

/*
 * foldrun_error says that the record cannot be transformed: it goes to quarantine with the code
 * (the plugin's own) and the message, which is not copied. Entries are treated as in foldrun_skip.
 */
FOLDRUN_API void foldrun_error(uint16_t code, foldrun_bytes message)
{
    if (foldrun__now.status != foldrun__ok)
        return;
    foldrun__now.status = foldrun__failed;
    foldrun__now.code = code;
    foldrun__now.message_at = (uint32_t)message.ptr;
    foldrun__now.message_len = message.len;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/*
 * A scanner that finds, and does not validate: it reads well-formed JSON rightly, and ill-formed
 * JSON to some answer or to "absent", always the same one, never out of bounds. A raw value is
 * its bytes in the text: "\"Paris\"", "-1.5", "{...}", "null". Raw values of a well-formed text may be
 * put into another JSON text as they are, and a raw object may be scanned in its turn.
 */

/* foldrun__space passes over what JSON takes for space, and the other control characters, too. */
FOLDRUN_API const uint8_t *foldrun__space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p <= ' ')
        p++;
    return p;
}

/* foldrun__same marks the lowest byte of a word that is c, by its top bit; bits above it mean nothing. */
FOLDRUN_API uint64_t foldrun__same(uint64_t word, uint8_t c)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    word ^= ones * c;
    return (word - ones) & ~word & tops;
}

/*
 * foldrun__stop finds the first quote or backslash, or end. Eight bytes at a time: this loop is where
 * reading JSON spends its time, and its fuel.
 */
FOLDRUN_API const uint8_t *foldrun__stop(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        __builtin_memcpy(&word, p, 8);
        uint64_t marks = foldrun__same(word, '"') | foldrun__same(word, '\\');
        if (marks != 0)
            return p + __builtin_ctzll(marks) / 8;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* foldrun__string_end: p is at the opening quote; returns what follows the closing one, or NULL. */
static __attribute__((noinline, unused)) const uint8_t *foldrun__string_end(const uint8_t *p, const uint8_t *end)
{
    p = foldrun__stop(p + 1, end);
    while (end - p >= 2 && *p == '\\')
        p = foldrun__stop(p + 2, end);
    return p < end && *p == '"' ? p + 1 : NULL;
}

/* foldrun__nested_end: p is at a { or [; returns what follows its partner, or NULL. */
static __attribute__((unused)) const uint8_t *foldrun__nested_end(const uint8_t *p, const uint8_t *end)
{
    uint32_t depth = 0;
    while (p < end) {
        switch (*p) {
        case '"':
            p = foldrun__string_end(p, end);
            if (p == NULL)
                return NULL;
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return p + 1;
        }
        p++;
    }
    return NULL;
}

/* foldrun__value_end returns what follows the value at p, or NULL. */
FOLDRUN_API const uint8_t *foldrun__value_end(const uint8_t *p, const uint8_t *end)
{
    if (p == end)
        return NULL;
    if (*p == '"')
        return foldrun__string_end(p, end);
    if (*p == '{' || *p == '[')
        return foldrun__nested_end(p, end);
    const uint8_t *start = p;
    while (p < end && (*p > ',' || *p == '+') && (*p | 0x20) != '}') /* ] | 0x20 is } */
        p++;
    return p == start ? NULL : p;
}

FOLDRUN_API bool foldrun_json_string(foldrun_bytes raw, foldrun_bytes *out);

/* foldrun__name reads the string at p: its text, and what follows it, or NULL. */
FOLDRUN_API const uint8_t *foldrun__name(const uint8_t *p, const uint8_t *end, foldrun_bytes *text)
{
    const uint8_t *stop = foldrun__stop(p + 1, end);
    if (stop < end && *stop == '"') {
        *text = (foldrun_bytes){p + 1, (uint32_t)(stop - p - 1)};
        return stop + 1;
    }
    stop = foldrun__string_end(p, end);
    return stop != NULL && foldrun_json_string((foldrun_bytes){p, (uint32_t)(stop - p)}, text) ? stop : NULL;
}

/*
 * foldrun_json_fields finds n fields of a JSON object in one pass, and stops when it has them. raw[i]
 * is the raw value of the field names[i], or {NULL, 0}; of a name that comes twice, the first counts.
 * Returns how many were found: 0, too, where the text is no object.
 */
static __attribute__((unused)) uint32_t foldrun_json_fields(foldrun_bytes json, const char *const *names, uint32_t n, foldrun_bytes *raw)
{
    const uint8_t *p = json.ptr, *end = json.ptr + json.len;
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        raw[i] = (foldrun_bytes){NULL, 0};
    p = foldrun__space(p, end);
    if (p == end || *p != '{')
        return 0;
    p++;
    while (found < n) {
        foldrun_bytes text;
        const uint8_t *name = foldrun__space(p, end);
        if (name == end || *name != '"')
            return found;
        p = foldrun__name(name, end, &text);
        if (p == NULL)
            return found;
        p = foldrun__space(p, end);
        if (p == end || *p != ':')
            return found;
        const uint8_t *value = foldrun__space(p + 1, end);
        p = foldrun__value_end(value, end);
        if (p == NULL)
            return found;
        for (uint32_t i = 0; i < n; i++)
            if (raw[i].ptr == NULL && foldrun_equal_text(text, names[i])) {
                raw[i] = (foldrun_bytes){value, (uint32_t)(p - value)};
                found++;
                break;
            }
        p = foldrun__space(p, end);
        if (p == end || *p != ',')
            return found;
        p++;
    }
    return found;
}

/* foldrun_json_field finds one field's raw value. */
FOLDRUN_API bool foldrun_json_field(foldrun_bytes json, const char *name, foldrun_bytes *raw)
{
    return foldrun_json_fields(json, &name, 1, raw) == 1;
}

/* foldrun__hex4 reads four hex digits, or gives -1. */
FOLDRUN_API int32_t foldrun__hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

FOLDRUN_API uint8_t *foldrun__utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
    } else if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | c >> 18);
        *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return to;
}

/* foldrun__unescape writes the text between the quotes to scratch; no escape makes it longer. */
static __attribute__((noinline, unused)) bool foldrun__unescape(const uint8_t *p, const uint8_t *end, foldrun_bytes *out)
{
    uint8_t *start = foldrun_alloc((uint32_t)(end - p)), *to = start;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        if (end - p < 2)
            return false;
        uint8_t kind = p[1];
        p += 2;
        switch (kind) {
        case '"': case '\\': case '/': *to++ = kind; continue;
        case 'b': *to++ = '\b'; continue;
        case 'f': *to++ = '\f'; continue;
        case 'n': *to++ = '\n'; continue;
        case 'r': *to++ = '\r'; continue;
        case 't': *to++ = '\t'; continue;
        case 'u': break;
        default: return false;
        }
        int32_t c = foldrun__hex4(p, end);
        if (c < 0)
            return false;
        p += 4;
        if (c >= 0xd800 && c < 0xe000) { /* half of a pair; alone it becomes U+FFFD */
            int32_t half = c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? foldrun__hex4(p + 2, end) : -1;
            if (half >= 0xdc00 && half < 0xe000) {
                p += 6;
                c = 0x10000 + (c - 0xd800) * 0x400 + (half - 0xdc00);
            } else {
                c = 0xfffd;
            }
        }
        to = foldrun__utf8(to, (uint32_t)c);
    }
    *out = (foldrun_bytes){start, (uint32_t)(to - start)};
    return true;
}

/* foldrun_json_string gives a raw string's text: where it stands, or, if it holds escapes, in scratch. */
FOLDRUN_API bool foldrun_json_string(foldrun_bytes raw, foldrun_bytes *out)
{
    if (raw.len < 2 || raw.ptr[0] != '"' || raw.ptr[raw.len - 1] != '"')
        return false;
    foldrun_bytes text = {raw.ptr + 1, raw.len - 2};
    *out = text;
    if (foldrun__stop(text.ptr, text.ptr + text.len) == text.ptr + text.len)
        return true;
    return foldrun__unescape(text.ptr, text.ptr + text.len, out);
}

/* foldrun_json_int reads a raw whole number; false if it is none, or not within int64_t. 1.0 and 1e6 are none. */
FOLDRUN_API bool foldrun_json_int(foldrun_bytes raw, int64_t *out)
{
    bool minus = raw.len > 0 && raw.ptr[0] == '-';
    uint64_t v = 0;
    uint32_t i = minus;
    if (i == raw.len)
        return false;
    for (; i < raw.len; i++) {
        uint8_t digit = raw.ptr[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > (uint64_t)INT64_MAX + minus)
        return false;
    *out = minus ? (int64_t)-v : (int64_t)v;
    return true;
}

/*
 * foldrun_json_number reads any raw number. It is the nearest double where the number is whole and
 * within uint64_t, or has at most 15 digits and a power of ten within 22; elsewhere it is a few units
 * in the last place off. Either way it is the same on every machine.
 */
static __attribute__((unused)) bool foldrun_json_number(foldrun_bytes raw, double *out)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const uint8_t *p = raw.ptr, *end = raw.ptr + raw.len;
    bool minus = p < end && *p == '-', digits = false, fraction = false;
    uint64_t m = 0;
    int32_t e = 0;
    for (p += minus; p < end; p++) {
        if (*p == '.' && digits && !fraction) {
            fraction = true;
            digits = false;
            continue;
        }
        uint8_t digit = *p - '0';
        if (digit > 9)
            break;
        digits = true;
        if (m <= (UINT64_MAX - 9) / 10) { /* what is cut off is far below a double's precision */
            m = m * 10 + digit;
            e -= fraction;
        } else {
            e += !fraction;
        }
    }
    if (!digits)
        return false;
    if (p < end && (*p | 0x20) == 'e') {
        int32_t x = 0;
        bool down = ++p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        if (p == end)
            return false;
        for (; p < end && (uint8_t)(*p - '0') <= 9; p++)
            x = x < 100000 ? x * 10 + (*p - '0') : x;
        e += down ? -x : x;
    }
    if (p != end)
        return false;
    double v = (double)m;
    if (m != 0) {
        for (; e > 0 && v <= 1e308; e -= e > 22 ? 22 : e)
            v *= power[e > 22 ? 22 : e];
        for (; e < 0 && v > 0; e += e < -22 ? 22 : -e)
            v /= power[e < -22 ? 22 : -e];
    }
    if (v > 1.7976931348623157e308 || (m != 0 && e > 0))
        return false;
    *out = minus ? -v : v;
    return true;
}

/* ---- tuple keys ----------------------------------------------------------------------------- */

/*
 * A key made of typed elements, whose bytes sort as the elements do: abi/TUPLE.md has them. Each
 * function below gives one element, and foldrun_concat makes a key of them, or continues one:
 *
 *     foldrun_concat(foldrun_tuple_string(country), foldrun_tuple_desc(foldrun_tuple_int(population)))
 *
 * In one place of a tuple, null is before false, true, integers, floats, bytes and strings. Integers
 * and floats are not one order: decide for one. What is not constant is in scratch.
 */
FOLDRUN_API foldrun_bytes foldrun_tuple_null(void) { return foldrun_lit("\x04"); }

FOLDRUN_API foldrun_bytes foldrun_tuple_bool(bool v) { return v ? foldrun_lit("\x09") : foldrun_lit("\x08"); }

/* foldrun__low_bytes writes first, then the n low bytes of v, big-endian; n is at most 8. */
FOLDRUN_API foldrun_bytes foldrun__low_bytes(uint8_t first, uint64_t v, uint32_t n)
{
    uint8_t *p = foldrun_alloc(1 + n);
    p[0] = first;
    for (uint32_t i = n; i > 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
    return (foldrun_bytes){p, 1 + n};
}

/* foldrun__size gives how many bytes hold v. */
FOLDRUN_API uint32_t foldrun__size(uint64_t v) { return v == 0 ? 0 : 8 - (uint32_t)__builtin_clzll(v) / 8; }

/* An integer. foldrun_tuple_int and foldrun_tuple_uint of the same number are the same element. */
FOLDRUN_API foldrun_bytes foldrun_tuple_uint(uint64_t v)
{
    uint32_t n = foldrun__size(v);
    return foldrun__low_bytes((uint8_t)(0x18 + n), v, n);
}

FOLDRUN_API foldrun_bytes foldrun_tuple_int(int64_t v)
{
    if (v >= 0)
        return foldrun_tuple_uint((uint64_t)v);
    uint64_t magnitude = -(uint64_t)v;
    uint32_t n = foldrun__size(magnitude);
    return foldrun__low_bytes((uint8_t)(0x18 - n), ~magnitude, n);
}

/* A float. There is one zero, and one NaN, which is above all numbers. */
FOLDRUN_API foldrun_bytes foldrun_tuple_float(double v)
{
    const uint64_t sign = 1ull << 63;
    uint64_t bits;
    __builtin_memcpy(&bits, &v, 8);
    if (v != v)
        bits = 0x7ff8000000000000 | sign;
    else if (v == 0)
        bits = sign;
    else
        bits = bits & sign ? ~bits : bits | sign;
    return foldrun__low_bytes(0x30, bits, 8);
}

/* foldrun__escaped writes first, then the text, with ff after each 00, then 00 01. */
static __attribute__((noinline, unused)) foldrun_bytes foldrun__escaped(uint8_t first, foldrun_bytes text)
{
    uint64_t len = (uint64_t)text.len + 3;
    for (uint32_t i = 0; i < text.len; i++)
        len += text.ptr[i] == 0;
    if (len > FOLDRUN__MOST)
        __builtin_trap();
    uint8_t *start = foldrun_alloc((uint32_t)len), *to = start;
    *to++ = first;
    for (uint32_t i = 0; i < text.len; i++) {
        *to++ = text.ptr[i];
        if (text.ptr[i] == 0)
            *to++ = 0xff;
    }
    *to++ = 0;
    *to = 1;
    return (foldrun_bytes){start, (uint32_t)len};
}

/* Bytes that are no text. For text use foldrun_tuple_string, so that readers find it as text. */
FOLDRUN_API foldrun_bytes foldrun_tuple_bytes(foldrun_bytes v) { return foldrun__escaped(0x40, v); }

FOLDRUN_API foldrun_bytes foldrun_tuple_string(foldrun_bytes v) { return foldrun__escaped(0x50, v); }

/* foldrun_tuple_desc gives an element, or several, that sort the other way round. */
FOLDRUN_API foldrun_bytes foldrun_tuple_desc(foldrun_bytes element)
{
    uint8_t *p = foldrun_alloc(element.len);
    for (uint32_t i = 0; i < element.len; i++)
        p[i] = (uint8_t)~element.ptr[i];
    return (foldrun_bytes){p, element.len};
}

/* ---- config --------------------------------------------------------------------------------- */

static foldrun_bytes foldrun__failure; /* what foldrun_error, the export, says */

/*
 * foldrun_refuse, in configure, keeps the reason for which the config is refused and returns 1:
 * return foldrun_refuse(foldrun_lit("tenant is missing"));
 */
FOLDRUN_API int32_t foldrun_refuse(foldrun_bytes reason)
{
    foldrun__failure = reason;
    return 1;
}

/* foldrun_keep copies bytes to where they stay for the instance's life. For configure only. */
FOLDRUN_API foldrun_bytes foldrun_keep(foldrun_bytes b)
{
    foldrun_bytes kept = foldrun_concat(b);
    foldrun__low = foldrun__top;
    return kept;
}

/*
 * A plugin that takes a config defines FOLDRUN_CONFIG before it includes this file, and configure.
 * The config is the fold's, as a JSON object, checked by the manifest's schema; its bytes stay valid.
 * It is called once on each instance, before any transform. 0: taken.
 */
#ifdef FOLDRUN_CONFIG
static int32_t configure(foldrun_bytes config);

FOLDRUN_EXPORT(foldrun_init) int32_t foldrun__export_init(const uint8_t *ptr, uint32_t len)
{
    foldrun__top = foldrun__low;
    return configure(foldrun_keep((foldrun_bytes){ptr, len}));
}
#endif

/* ---- log ------------------------------------------------------------------------------------ */

#define FOLDRUN_DEBUG 0
#define FOLDRUN_INFO 1
#define FOLDRUN_WARN 2
#define FOLDRUN_ERROR 3

__attribute__((import_module("foldrun_v1"), import_name("log"))) void
foldrun__import_log(int32_t level, const uint8_t *ptr, uint32_t len);

/* foldrun_log writes to the host's log. For finding mistakes: a call costs more than most records do. */
FOLDRUN_API void foldrun_log(int32_t level, foldrun_bytes text) { foldrun__import_log(level, text.ptr, text.len); }

/* ---- exports -------------------------------------------------------------------------------- */

static void transform(const foldrun_record *r);

FOLDRUN_EXPORT(foldrun_abi_v1) void foldrun__export_abi_v1(void) {}

/* The arena for the in frame. It only grows: in place over scratch, which is dead by now, where they adjoin. */
FOLDRUN_EXPORT(foldrun_buffer) uint32_t foldrun__export_buffer(uint32_t min)
{
    if (min == 0)
        min = 1;
    if (min <= foldrun__arena_len)
        return foldrun__arena;
    if (min > FOLDRUN__MOST)
        return 0;
    uint32_t len = foldrun__pages(min) * FOLDRUN__PAGE, at = foldrun__arena;
    bool adjoin = foldrun__arena_len > 0 && foldrun__low == foldrun__arena + foldrun__arena_len;
    uint32_t have = adjoin ? foldrun__end - foldrun__arena : 0;
    if (have < len) {
        bool extend = adjoin && foldrun__last();
        uint32_t got = foldrun__claim(extend ? len - have : len);
        if (got == 0)
            return 0;
        if (!extend)
            at = got;
        foldrun__end = at + len;
    }
    foldrun__arena = at;
    foldrun__arena_len = len;
    foldrun__low = foldrun__top = at + len;
    return at;
}

FOLDRUN_API uint64_t foldrun__pack(foldrun_bytes b) { return (uint64_t)(uint32_t)b.ptr << 32 | b.len; }

FOLDRUN_EXPORT(foldrun_error) uint64_t foldrun__export_error(void) { return foldrun__pack(foldrun__failure); }

FOLDRUN_EXPORT(foldrun_transform) uint64_t foldrun__export_transform(uint32_t ptr, uint32_t len)
{
    foldrun__in *in = (foldrun__in *)ptr;
    if (len < 32 || in->magic != 0x31495246 || in->length != len || in->header_size < 32 || in->record_size < 64) {
        foldrun__failure = foldrun_lit("the in frame is none of ABI version 1");
        return 0;
    }
    uint32_t records = in->records, size = in->record_size;
    foldrun__frame = in;
    foldrun__top = foldrun__low;
    foldrun__entry_count = 0;
    foldrun__table(records, 2 * records + 8);
    const uint8_t *record = (const uint8_t *)ptr + in->header_size;
    for (uint32_t i = 0; i < records; i++, record += size) {
        uint32_t before = foldrun__entry_count;
        *(volatile uint32_t *)&in->progress = i; /* must be there if transform traps */
        foldrun__now = (foldrun__result){.status = foldrun__ok};
        transform((const foldrun_record *)record);
        if (foldrun__now.status != foldrun__ok)
            foldrun__entry_count = before;
        foldrun__now.entries = foldrun__entry_count - before;
        ((foldrun__result *)(foldrun__frame_out + 1))[i] = foldrun__now;
    }
    foldrun__out *out = foldrun__frame_out;
    *out = (foldrun__out){
        .magic = 0x314f5246,
        .header_size = 32,
        .result_size = 16,
        .entry_size = 32,
        .results = records,
        .entries = foldrun__entry_count,
    };
    return foldrun__pack((foldrun_bytes){(const uint8_t *)out, foldrun__out_len(records, foldrun__entry_count)});
}

/* ---- what clang calls ----------------------------------------------------------------------- */

/*
 * clang may turn any loop, assignment or __builtin into a call of these. They are weak, so a libc's
 * win, and no_builtin, so that none is turned into a call of itself; with -mbulk-memory the
 * __builtins inside are single instructions.
 */
#define FOLDRUN__LIBC(name) __attribute__((weak, no_builtin(name)))

FOLDRUN__LIBC("memcpy") void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    return __builtin_memcpy(to, from, n);
}

FOLDRUN__LIBC("memmove") void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }

FOLDRUN__LIBC("memset") void *memset(void *to, int c, size_t n) { return __builtin_memset(to, c, n); }

FOLDRUN__LIBC("memcmp") int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

FOLDRUN__LIBC("bcmp") int bcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return 1;
    return 0;
}

FOLDRUN__LIBC("strlen") size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    return n;
}

#endif
