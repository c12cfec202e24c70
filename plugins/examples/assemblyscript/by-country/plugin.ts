// By-country files each city under country/admin1/name, so that a prefix names a country or a part of one.
import { Fields, Out, Record, build, register } from "./foldrun";
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";

const fields = new Fields(["country", "admin1", "name", "id", "population"]);

function transform(r: Record, out: Out): void {
  const city = fields.scan(r.value);
  if (city.found < 5) return out.error(1, "country, admin1, name, id or population is missing");
  const key = build();
  for (let i = 0; i < 3; i++) {
    const text = city[i]!.text();
    if (!text) return out.error(2, build().add("not a string: ").add(city[i]));
    if (i > 0) key.add("/");
    key.add(text);
  }
  out.emit(0, key, build().add('{"id":').add(city[3]).add(',"population":').add(city[4]).add("}"));
}

register(transform);
