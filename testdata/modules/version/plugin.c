/* version passes key and value through, the value behind its version, which tests overwrite in the module's bytes. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    foldrun_emit(0, foldrun_key(r), foldrun_concat(foldrun_lit("version 1: "), foldrun_value(r)), 0);
}
