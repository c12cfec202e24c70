//! Behave does what the value of a record says, well or badly.
mod foldrun;

use foldrun::{append_json, field, fields, log, Json, Level, Op, Out, Record, Stop, Tuple};
use std::time::Duration;

foldrun::export!(transform, configure);

#[derive(Default)]
struct Config {
    describe: bool,
    wanted: Vec<u8>,
}

fn configure(config: &[u8]) -> Result<Config, String> {
    let [describe, throw, wanted, refuse] =
        fields(config, ["describe", "throw", "wanted", "refuse"]);
    assert!(throw.is_none(), "configure");
    if let Some(why) = refuse.and_then(|v| v.text()) {
        return Err(String::from_utf8(why.into_owned()).unwrap());
    }
    Ok(Config {
        describe: describe.is_some(),
        wanted: wanted
            .and_then(|v| v.text())
            .unwrap_or_default()
            .into_owned(),
    })
}

fn transform(config: &Config, r: &Record, out: &mut Out) -> Result<(), Stop> {
    if config.describe {
        return describe(r, out);
    }
    if let Some(text) = r.value().strip_prefix(b"json:") {
        return json(text, out);
    }
    if let Some(elements) = r.value().strip_prefix(b"tupl:") {
        return tuple(elements, out);
    }
    match r.value() {
        b"record" => record(r, out),
        b"kinds" => {
            let mut array = [b'a', 0xff];
            out.emit(0, "string ü", array);
            array[0] = b'b'; // what was emitted is a copy
            out.emit(0, array, String::from("cönst"));
            out.emit(
                0,
                "numbers",
                format!("{} {} {} {}", i64::MIN, u64::MAX, -7, 0),
            );
            let mut text = Vec::new();
            append_json(&mut text, "\"\\\n\t\x01ü");
            out.emit(0, "json", text);
            out.emit(0, Tuple::new().text("t").int(1), r.value().to_vec());
        }
        b"escaped" => {
            let text = field(br#"{"k\u0065y":"a\u00fc\n"}"#, &["key"])
                .and_then(|v| v.text())
                .unwrap();
            out.emit(0, &text, &text[1..]);
        }
        b"ttl" => out.emit_ttl(0, r.key(), "", Duration::from_secs(3600)),
        b"config" => out.emit(0, "config", &config.wanted),
        b"large" => (0..250).for_each(|i| out.emit(0, i.to_string(), vec![0; 4000])),
        b"skip" => {
            out.emit(0, r.key(), "");
            return Err(Stop::Skip);
        }
        b"error" => {
            out.emit(0, r.key(), "");
            return Err(Stop::error(7, format!("text of {}", "error")));
        }
        b"log" => log(Level::Warn, "a line"),
        b"throw" => {
            out.emit(0, r.key(), "");
            panic!("thrown");
        }
        b"byte" => out.emit(0, [r.value()[r.key().len() + 100]], ""),
        b"null" => out.emit(0, r.header("X-None").unwrap(), ""),
        b"unknown index" => out.emit(7, "", ""),
        b"memory" => out.emit(0, vec![1; 1 << 30], ""),
        b"leak" => loop {
            std::mem::forget(vec![r.seq(); 1 << 17]);
        },
        b"recurse" => out.emit(recurse(1) as u16, "", ""),
        _ => out.emit(0, r.key(), r.value()),
    }
    Ok(())
}

/// Emits all that there is of a record.
fn describe(r: &Record, out: &mut Out) -> Result<(), Stop> {
    out.emit(
        0,
        [r.seq().to_le_bytes(), r.time().to_le_bytes()].concat(),
        [r.op() as u8],
    );
    out.emit(1, r.subject(), "");
    out.emit(2, r.key(), r.value());
    r.headers()
        .for_each(|(name, value)| out.emit(3, name, value));
    Ok(())
}

fn record(r: &Record, out: &mut Out) {
    let op = if r.op() == Op::Put { "put" } else { "other" };
    let mut text = format!(
        "{} {} {} {}",
        r.seq(),
        r.time(),
        String::from_utf8_lossy(r.subject()),
        op
    )
    .into_bytes();
    for (name, value) in r.headers() {
        text.extend_from_slice(&[b" ", name, b"=", value].concat());
    }
    if r.header("X-Empty").is_none() || r.header("X-None").is_some() {
        text.extend_from_slice(b" wrong");
    }
    if let Some(tag) = r.header("X-Tag") {
        text.extend_from_slice(&[b" ", tag].concat());
    }
    out.emit(0, r.key(), text);
    out.emit(1, r.subject(), "");
}

/// Emits what is found in a JSON text: the raw value, and all that it can be read as.
fn json(text: &[u8], out: &mut Out) -> Result<(), Stop> {
    let names = [
        "a",
        "b",
        "c",
        "",
        "b\n",
        "long name of a field that nobody asks for",
    ];
    let values = fields(text, names);
    out.emit(0, "found", values.iter().flatten().count().to_string());
    for (i, v) in values.iter().enumerate() {
        if *v != field(text, &names[i..i + 1]) {
            return Err(Stop::error(1, "alone and together differ"));
        }
        if let Some(v) = v {
            read(&i.to_string(), v, out);
        }
    }
    Ok(())
}

fn read(key: &str, v: &Json, out: &mut Out) {
    out.emit(0, key, v.raw());
    if let Some(text) = v.text() {
        out.emit(1, key, text);
    }
    if let Some(n) = v.int() {
        out.emit(2, key, n.to_string());
    }
    if let Some(x) = v.float() {
        out.emit(3, key, x.to_bits().to_string());
    }
    if let Some(x) = v.bool() {
        out.emit(4, key, x.to_string());
    }
    if v.raw() == b"null" {
        out.emit(5, key, "");
    }
    if let Some(inner) = field(v.raw(), &["x", "x"]) {
        out.emit(6, key, inner.raw());
    }
}

/// Reads elements, each a kind, a direction, a length and bytes, and emits their tuple.
fn tuple(mut b: &[u8], out: &mut Out) -> Result<(), Stop> {
    let mut t = Tuple::new();
    while let [kind, desc, rest @ ..] = b {
        let n = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let text = &rest[4..4 + n];
        let number = text.try_into().map(u64::from_le_bytes).unwrap_or_default();
        t = match (kind, desc) {
            (0, 0) => t.null(),
            (0, _) => t.null_desc(),
            (1, 0) => t.bool(number != 0),
            (1, _) => t.bool_desc(number != 0),
            (2, 0) => t.int(number as i64),
            (2, _) => t.int_desc(number as i64),
            (3, 0) => t.uint(number),
            (3, _) => t.uint_desc(number),
            (4, 0) => t.float(f64::from_bits(number)),
            (4, _) => t.float_desc(f64::from_bits(number)),
            (5, 0) => t.bytes(text),
            (5, _) => t.bytes_desc(text),
            (_, 0) => t.text(text),
            (_, _) => t.text_desc(text),
        };
        b = &rest[4 + n..];
    }
    out.emit(0, t, "");
    Ok(())
}

#[allow(unconditional_recursion)]
fn recurse(n: u64) -> u64 {
    let room = [n; 512];
    recurse(n + 1) + room[n as usize % 512]
}
