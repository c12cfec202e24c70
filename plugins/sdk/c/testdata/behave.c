/* behave does what the value of a record says, well or badly. */
#define FOLDRUN_CONFIG
#include "foldrun.h"

static bool described;
static foldrun_bytes wanted;

static int32_t configure(foldrun_bytes config)
{
    static const char *const names[] = {"describe", "throw", "wanted", "refuse"};
    foldrun_bytes raw[4], why;
    foldrun_json_fields(config, names, 4, raw);
    if (raw[1].ptr != NULL)
        __builtin_trap();
    if (raw[3].ptr != NULL && foldrun_json_string(raw[3], &why))
        return foldrun_refuse(why);
    described = raw[0].ptr != NULL;
    if (raw[2].ptr != NULL && foldrun_json_string(raw[2], &wanted))
        wanted = foldrun_keep(wanted);
    return 0;
}

/* unsigned_decimal writes what foldrun_decimal has no sign for. */
static foldrun_bytes unsigned_decimal(uint64_t n)
{
    if (n <= INT64_MAX)
        return foldrun_decimal((int64_t)n);
    return foldrun_concat(foldrun_decimal((int64_t)(n / 10)), foldrun_decimal((int64_t)(n % 10)));
}

/* after gives what follows a prefix of the value, if it has that. */
static bool after(const char *prefix, foldrun_bytes value, foldrun_bytes *rest)
{
    uint32_t n = strlen(prefix);
    if (value.len < n || !foldrun_equal_text((foldrun_bytes){value.ptr, n}, prefix))
        return false;
    *rest = (foldrun_bytes){value.ptr + n, value.len - n};
    return true;
}

/* describe emits all that there is of a record. */
static void describe(const foldrun_record *r)
{
    foldrun_bytes name, value;
    foldrun_emit(0, (foldrun_bytes){(const uint8_t *)&r->seq, 16}, (foldrun_bytes){&r->op, 1}, 0);
    foldrun_emit(1, foldrun_subject(r), foldrun_lit(""), 0);
    foldrun_emit(2, foldrun_key(r), foldrun_value(r), 0);
    for (uint32_t i = 0; i < r->header_count; i++) {
        foldrun_header_at(r, i, &name, &value);
        foldrun_emit(3, name, value, 0);
    }
}

static void record(const foldrun_record *r)
{
    foldrun_bytes name, value, tag, text = foldrun_concat(
        unsigned_decimal(r->seq), foldrun_lit(" "), foldrun_decimal(r->time), foldrun_lit(" "), foldrun_subject(r),
        r->op == FOLDRUN_PUT ? foldrun_lit(" put") : foldrun_lit(" other"));
    for (uint32_t i = 0; i < r->header_count; i++) {
        foldrun_header_at(r, i, &name, &value);
        text = foldrun_concat(text, foldrun_lit(" "), name, foldrun_lit("="), value);
    }
    if (!foldrun_header(r, "X-Empty", &value) || foldrun_header(r, "X-None", &value))
        text = foldrun_concat(text, foldrun_lit(" wrong"));
    if (foldrun_header(r, "X-Tag", &tag))
        text = foldrun_concat(text, foldrun_lit(" "), tag);
    foldrun_emit(0, foldrun_key(r), text, 0);
    foldrun_emit(1, foldrun_subject(r), foldrun_lit(""), 0);
}

/* element makes one of a tuple: number if it is one, else text. */
static foldrun_bytes element(uint8_t kind, uint64_t number, foldrun_bytes text)
{
    double x;
    __builtin_memcpy(&x, &number, 8);
    switch (kind) {
    case 0: return foldrun_tuple_null();
    case 1: return foldrun_tuple_bool(number != 0);
    case 2: return foldrun_tuple_int((int64_t)number);
    case 3: return foldrun_tuple_uint(number);
    case 4: return foldrun_tuple_float(x);
    case 5: return foldrun_tuple_bytes(text);
    default: return foldrun_tuple_string(text);
    }
}

/* tuple reads elements, each a kind, a direction, a length and bytes, and emits their tuple. */
static void tuple(foldrun_bytes elements)
{
    foldrun_bytes key = foldrun_lit("");
    const uint8_t *p = elements.ptr, *end = p + elements.len;
    while (p < end) {
        uint8_t kind = p[0];
        bool descending = p[1] != 0;
        foldrun_bytes text = {p + 6, 0};
        __builtin_memcpy(&text.len, p + 2, 4);
        uint64_t number = 0;
        if (text.len == 8)
            __builtin_memcpy(&number, text.ptr, 8);
        foldrun_bytes e = element(kind, number, text);
        key = foldrun_concat(key, descending ? foldrun_tuple_desc(e) : e);
        p = text.ptr + text.len;
    }
    foldrun_emit(0, key, foldrun_lit(""), 0);
}

/* read emits a raw value, and all that it can be read as. */
static void read(foldrun_bytes key, foldrun_bytes raw)
{
    foldrun_bytes text, inner;
    int64_t n;
    double x;
    foldrun_emit(0, key, raw, 0);
    if (foldrun_json_string(raw, &text))
        foldrun_emit(1, key, text, 0);
    if (foldrun_json_int(raw, &n))
        foldrun_emit(2, key, foldrun_decimal(n), 0);
    if (foldrun_json_number(raw, &x)) {
        uint64_t bits;
        __builtin_memcpy(&bits, &x, 8);
        foldrun_emit(3, key, unsigned_decimal(bits), 0);
    }
    if (foldrun_equal_text(raw, "true") || foldrun_equal_text(raw, "false"))
        foldrun_emit(4, key, raw, 0);
    if (foldrun_equal_text(raw, "null"))
        foldrun_emit(5, key, foldrun_lit(""), 0);
    if (foldrun_json_field(raw, "x", &inner) && foldrun_json_field(inner, "x", &inner))
        foldrun_emit(6, key, inner, 0);
}

/* json emits what is found in a JSON text. */
static void json(foldrun_bytes text)
{
    static const char *const names[] = {"a", "b", "c", "", "b\n", "long name of a field that nobody asks for"};
    foldrun_bytes raw[6], alone;
    foldrun_emit(0, foldrun_lit("found"), foldrun_decimal(foldrun_json_fields(text, names, 6, raw)), 0);
    for (int i = 0; i < 6; i++) {
        bool found = foldrun_json_field(text, names[i], &alone);
        if (found != (raw[i].ptr != NULL) || alone.ptr != raw[i].ptr || alone.len != raw[i].len) {
            foldrun_error(1, foldrun_lit("alone and together differ"));
            return;
        }
        if (found)
            read(foldrun_decimal(i), raw[i]);
    }
}

/* kinds emits what is constant, in scratch, in the record and kept. */
static void kinds(foldrun_bytes value)
{
    uint8_t *array = foldrun_alloc(2);
    array[0] = 'b';
    array[1] = 0xff;
    foldrun_emit(0, foldrun_lit("string ü"), foldrun_lit("a\xff"), 0);
    foldrun_emit(0, (foldrun_bytes){array, 2}, foldrun_lit("cönst"), 0);
    foldrun_emit(0, foldrun_lit("numbers"),
        foldrun_concat(foldrun_decimal(INT64_MIN), foldrun_lit(" "), unsigned_decimal(UINT64_MAX), foldrun_lit(" "),
            foldrun_decimal(-7), foldrun_lit(" "), foldrun_decimal(0)),
        0);
    foldrun_emit(0, foldrun_lit("json"), foldrun_lit("\"\\\"\\\\\\n\\t\\u0001ü\""), 0);
    foldrun_emit(0, foldrun_concat(foldrun_tuple_string(foldrun_lit("t")), foldrun_tuple_int(1)), value, 0);
}

static void escaped(void)
{
    foldrun_bytes raw, text;
    if (foldrun_json_field(foldrun_lit("{\"k\\u0065y\":\"a\\u00fc\\n\"}"), "key", &raw) && foldrun_json_string(raw, &text))
        foldrun_emit(0, text, (foldrun_bytes){text.ptr + 1, text.len - 1}, 0);
}

static void large(void)
{
    for (int i = 0; i < 250; i++) {
        uint8_t *zeros = foldrun_alloc(4000);
        __builtin_memset(zeros, 0, 4000);
        foldrun_emit(0, foldrun_decimal(i), (foldrun_bytes){zeros, 4000}, 0);
    }
}

static uint64_t recurse(uint64_t n)
{
    volatile uint64_t room[512] = {n};
    return n == UINT64_MAX ? 0 : recurse(n + 1) + room[n % 512];
}

/* odd does what a verb says, if it is one of those that do no good. */
static bool odd(const foldrun_record *r, foldrun_bytes verb)
{
    if (foldrun_equal_text(verb, "skip")) {
        foldrun_emit(0, foldrun_key(r), foldrun_lit(""), 0);
        foldrun_skip();
    } else if (foldrun_equal_text(verb, "error")) {
        foldrun_emit(0, foldrun_key(r), foldrun_lit(""), 0);
        foldrun_error(7, foldrun_concat(foldrun_lit("text of "), verb));
    } else if (foldrun_equal_text(verb, "throw")) {
        foldrun_emit(0, foldrun_key(r), foldrun_lit(""), 0);
        __builtin_trap();
    } else if (foldrun_equal_text(verb, "unknown index")) {
        foldrun_emit(7, foldrun_lit(""), foldrun_lit(""), 0);
    } else if (foldrun_equal_text(verb, "memory")) {
        foldrun_emit(0, (foldrun_bytes){foldrun_alloc(1 << 29), 1 << 29}, foldrun_lit(""), 0);
    } else if (foldrun_equal_text(verb, "leak")) {
        for (;;)
            foldrun_alloc(1 << 20);
    } else if (foldrun_equal_text(verb, "recurse")) {
        foldrun_emit((uint16_t)recurse(r->seq), foldrun_lit(""), foldrun_lit(""), 0);
    } else {
        return false;
    }
    return true;
}

static void transform(const foldrun_record *r)
{
    foldrun_bytes verb = foldrun_value(r), rest;
    if (described)
        describe(r);
    else if (after("json:", verb, &rest))
        json(rest);
    else if (after("tupl:", verb, &rest))
        tuple(rest);
    else if (foldrun_equal_text(verb, "record"))
        record(r);
    else if (foldrun_equal_text(verb, "kinds"))
        kinds(verb);
    else if (foldrun_equal_text(verb, "escaped"))
        escaped();
    else if (foldrun_equal_text(verb, "ttl"))
        foldrun_emit(0, foldrun_key(r), foldrun_lit(""), 3600ull * 1000 * 1000 * 1000);
    else if (foldrun_equal_text(verb, "config"))
        foldrun_emit(0, foldrun_lit("config"), wanted, 0);
    else if (foldrun_equal_text(verb, "large"))
        large();
    else if (foldrun_equal_text(verb, "log"))
        foldrun_log(FOLDRUN_WARN, foldrun_lit("a line"));
    else if (!odd(r, verb))
        foldrun_emit(0, foldrun_key(r), verb, 0);
}
