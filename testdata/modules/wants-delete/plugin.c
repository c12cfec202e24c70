/* wants-delete makes a row of each retained delete or purge, key = the source key, value = "deleted"; puts yield nothing. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    if (r->op == FOLDRUN_PUT)
        return;
    foldrun_emit(0, foldrun_key(r), foldrun_lit("deleted"), 0);
}
