// Garbage does what by-country does with strings and a map that it throws away.
import { Fields, Out, Record, build, register } from "./foldrun";
export { foldrun_abi_v1, foldrun_buffer, foldrun_init, foldrun_transform, foldrun_error } from "./foldrun";

const names = ["country", "admin1", "name", "id", "population"];
const fields = new Fields(names);

function transform(r: Record, out: Out): void {
  const raw = fields.scan(r.value);
  const city = new Map<string, string>();
  for (let i = 0; i < names.length; i++) {
    const text = raw[i]!.text();
    city.set(names[i], text ? text.toString() : raw[i]!.toString());
  }
  const key = city.get("country") + "/" + city.get("admin1") + "/" + city.get("name");
  const value = '{"id":' + city.get("id") + ',"population":' + city.get("population") + "}";
  out.emit(0, key, value);
}

register(transform);
