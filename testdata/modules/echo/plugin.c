/* echo passes key and value through, without a copy. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    foldrun_emit(0, foldrun_key(r), foldrun_value(r), 0);
}
