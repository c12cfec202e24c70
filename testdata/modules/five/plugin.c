/* five yields five rows of each record: the i-th is keyed by the value's bytes 8i to 8i+7, "/" and the source key, and has the whole value. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    foldrun_bytes value = foldrun_value(r);
    if (value.len < 40) {
        foldrun_error(1, foldrun_lit("the value is shorter than 40 bytes"));
        return;
    }
    for (uint32_t i = 0; i < 5; i++)
        foldrun_emit(0, foldrun_concat((foldrun_bytes){value.ptr + 8 * i, 8}, foldrun_lit("/"), foldrun_key(r)), value, 0);
}
