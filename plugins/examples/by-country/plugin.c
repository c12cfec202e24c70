/* by-country files each city under country/admin1/name, so that a prefix names a country or a part of one. */
#include "foldrun.h"

enum { country, admin1, name, id, population, fields };

static void transform(const foldrun_record *r)
{
    static const char *const names[fields] = {"country", "admin1", "name", "id", "population"};
    foldrun_bytes raw[fields], key[name + 1];
    if (foldrun_json_fields(foldrun_value(r), names, fields, raw) < fields) {
        foldrun_error(1, foldrun_lit("country, admin1, name, id or population is missing"));
        return;
    }
    for (int i = country; i <= name; i++)
        if (!foldrun_json_string(raw[i], &key[i])) {
            foldrun_error(2, foldrun_concat(foldrun_lit("not a string: "), raw[i]));
            return;
        }
    foldrun_emit(0,
        foldrun_concat(key[country], foldrun_lit("/"), key[admin1], foldrun_lit("/"), key[name]),
        foldrun_concat(foldrun_lit("{\"id\":"), raw[id], foldrun_lit(",\"population\":"), raw[population], foldrun_lit("}")),
        0);
}
