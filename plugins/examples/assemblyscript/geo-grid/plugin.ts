// Geo-grid files each city under the cell of a grid that it lies in, so that a map finds what it shows by a few ranges of keys.
import { Bytes, Fields, Out, Record, configure, field, register, tuple } from "./foldrun";
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";

const fields = new Fields(["lat", "lon", "name"]);

let size = 1.0; // of a cell, in degrees

function take(config: Bytes): string | null {
  const degrees = field(config, "degrees");
  if (!degrees) return null;
  if (!degrees.isFloat() || degrees.float() <= 0) return "degrees is no number above 0";
  size = degrees.float();
  return null;
}

function transform(r: Record, out: Out): void {
  const city = fields.scan(r.value);
  const lat = city[0];
  const lon = city[1];
  if (city.found < 3 || !lat!.isFloat() || !lon!.isFloat()) return out.error(1, "no lat, lon or name");
  const y = lat!.float();
  const x = lon!.float();
  if (abs(y) > 90 || abs(x) > 180) return out.error(2, "not on Earth");
  out.emit(0, tuple().int(i64(floor(y / size))).int(i64(floor(x / size))), city[2]);
}

configure(take);
register(transform);
