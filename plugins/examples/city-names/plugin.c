/* city-names projects each city to its name and population, and finds cities by name. */
#include "foldrun.h"

enum { by_id, by_name }; /* the manifest's indexes, in its order */

/* lower copies a text with A-Z made a-z; other letters stay as they are. */
static foldrun_bytes lower(foldrun_bytes text)
{
    uint8_t *p = foldrun_alloc(text.len);
    for (uint32_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        p[i] = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
    }
    return (foldrun_bytes){p, text.len};
}

static void transform(const foldrun_record *r)
{
    static const char *const names[] = {"name", "population"};
    foldrun_bytes raw[2], name;
    if (foldrun_json_fields(foldrun_value(r), names, 2, raw) < 2 || !foldrun_json_string(raw[0], &name)) {
        foldrun_error(1, foldrun_lit("no name or no population"));
        return;
    }
    foldrun_bytes value =
        foldrun_concat(foldrun_lit("{\"name\":"), raw[0], foldrun_lit(",\"population\":"), raw[1], foldrun_lit("}"));
    foldrun_emit(by_id, foldrun_key(r), value, 0);
    foldrun_emit(by_name, lower(name), foldrun_key(r), 0);
}
