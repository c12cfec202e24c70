/* sessions finds the sessions of a user that are still good: each row goes when its session has run out. */
#include "foldrun.h"

enum { user, minutes, fields };

static void transform(const foldrun_record *r)
{
    static const char *const names[fields] = {"user", "minutes"};
    foldrun_bytes raw[fields], name;
    int64_t n;
    if (foldrun_json_fields(foldrun_value(r), names, fields, raw) < fields || !foldrun_json_string(raw[user], &name)) {
        foldrun_error(1, foldrun_lit("no user or no minutes"));
        return;
    }
    if (!foldrun_json_int(raw[minutes], &n) || n < 1 || n > 60 * 24 * 365) {
        foldrun_error(2, foldrun_concat(foldrun_lit("minutes are 1 to 525600, not "), raw[minutes]));
        return;
    }
    foldrun_emit(0, name, foldrun_key(r), (uint64_t)n * 60 * 1000000000); /* from the record's time */
}
