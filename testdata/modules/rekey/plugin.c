/* rekey puts the value's first 8 bytes (all of a shorter one) and "/" before the key: the benchmark's module. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    foldrun_bytes value = foldrun_value(r), prefix = value;
    if (prefix.len > 8)
        prefix.len = 8;
    foldrun_emit(0, foldrun_concat(prefix, foldrun_lit("/"), foldrun_key(r)), value, 0);
}
