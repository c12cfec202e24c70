/* tombstones lists the keys that were deleted, and at which revision: what a bucket no longer shows. */
#include "foldrun.h"

static void transform(const foldrun_record *r)
{
    if (r->op == FOLDRUN_PUT) {
        foldrun_skip(); /* the key lives: whatever row it had goes */
        return;
    }
    foldrun_bytes how = r->op == FOLDRUN_PURGE ? foldrun_lit(",\"purged\":true}") : foldrun_lit(",\"purged\":false}");
    foldrun_emit(0, foldrun_key(r), foldrun_concat(foldrun_lit("{\"revision\":"), foldrun_decimal((int64_t)r->seq), how), 0);
}
