/* large-cities keeps the cities of at least min_population people, as they are. */
#define FOLDRUN_CONFIG
#include "foldrun.h"

static double min_population = 1000000;

static int32_t configure(foldrun_bytes config)
{
    foldrun_bytes raw;
    if (foldrun_json_field(config, "min_population", &raw) && !foldrun_json_number(raw, &min_population))
        return foldrun_refuse(foldrun_lit("min_population is not a number"));
    return 0;
}

static void transform(const foldrun_record *r)
{
    foldrun_bytes city = foldrun_value(r), raw;
    double population;
    if (!foldrun_json_field(city, "population", &raw) || !foldrun_json_number(raw, &population)) {
        foldrun_error(1, foldrun_lit("no population"));
        return;
    }
    if (population < min_population) {
        foldrun_skip();
        return;
    }
    foldrun_emit(0, foldrun_key(r), city, 0);
}
