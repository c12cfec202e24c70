/* hundredth is rekey for source keys that end with "00", and filters all others out. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    foldrun_bytes key = foldrun_key(r), value = foldrun_value(r), prefix = value;
    if (key.len < 2 || key.ptr[key.len - 1] != '0' || key.ptr[key.len - 2] != '0') {
        foldrun_skip();
        return;
    }
    if (prefix.len > 8)
        prefix.len = 8;
    foldrun_emit(0, foldrun_concat(prefix, foldrun_lit("/"), key), value, 0);
}
