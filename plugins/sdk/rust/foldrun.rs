//! The SDK for foldrun plugins in Rust: this one file, ABI version 1, on the standard library alone, from Rust 1.63 on.
//! Copy it into your plugin, as `src/foldrun.rs`, and name it in `src/lib.rs`:
//!
//! ```ignore
//! mod foldrun;
//! use foldrun::{Out, Record, Stop};
//!
//! foldrun::export!(transform);
//!
//! fn transform(r: &Record, out: &mut Out) -> Result<(), Stop> {
//!     let email = foldrun::field(r.value(), &["email"]).ok_or(Stop::Skip)?;
//!     let email = email.text().ok_or_else(|| Stop::error(1, "email is not a string"))?;
//!     out.emit(0, email, r.key());
//!     Ok(())
//! }
//! ```
//!
//! `foldrun plugin build` builds it, for the target wasm32-unknown-unknown, as a cdylib with `panic = "abort"`.
//!
//! A transform says what one record yields now; the host compares that with what the record yielded before and stores the
//! difference. It must depend on the record and the config alone: a static that remembers something from one record to
//! the next is a bug, since the host makes and drops instances as it likes.
//!
//! # Memory
//!
//! The input lies in one arena, which the host overwrites with the next call. What a record's methods return are views of
//! it; no borrow of them outlives the transform. What is emitted is copied, unless it is such a view. The SDK allocates
//! nothing for a record once its buffers have grown; what you allocate is freed as ever in Rust, so memory does not grow.
//!
//! # Panics
//!
//! A panic ends the instance, after a line in the host's log: the host tries the record alone on a fresh one, quarantines
//! it if it fails again, and goes on behind it. Answer `Err(Stop::error(code, message))` for what can be foreseen.
//!
//! # The world
//!
//! There are no files, network, arguments or environment, and no clock: on this target `SystemTime::now` panics.

#![allow(dead_code, unused_macros, unused_imports)] // no plugin needs all

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

// ---- the plugin

/// Makes the module's exports of a transform: `export!(transform)`, where that is
/// `fn(&Record, &mut Out) -> Result<(), Stop>`.
///
/// With a config it is `export!(transform, configure)`, where configure is `fn(&[u8]) -> Result<C, String>` and transform
/// `fn(&C, &Record, &mut Out) -> Result<(), Stop>`. Configure is called once on each instance, before any transform, with
/// the fold's config: a JSON object that the manifest's schema allows. What it refuses stops the fold from starting.
macro_rules! export {
    ($transform:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_transform(at: *mut u8, len: u32) -> u64 {
            crate::foldrun::exports::transform(at, len, $transform)
        }
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(
            &crate::foldrun::Record,
            &mut crate::foldrun::Out,
        ) -> Result<(), crate::foldrun::Stop> = $transform;
        crate::foldrun::export!();
    };
    ($transform:path, $configure:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_init(at: *const u8, len: u32) -> u32 {
            crate::foldrun::exports::init(at, len, |config| {
                let config = $configure(config)?;
                let transform = move |r: &crate::foldrun::Record, out: &mut crate::foldrun::Out| {
                    $transform(&config, r, out)
                };
                Ok(Box::new(move |at, len| {
                    crate::foldrun::exports::transform(at, len, &transform)
                }))
            })
        }
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_transform(at: *mut u8, len: u32) -> u64 {
            crate::foldrun::exports::configured(at, len)
        }
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = $configure; // both are used
            let _ = $transform;
        };
        crate::foldrun::export!();
    };
    () => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_abi_v1() {}

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_buffer(min: u32) -> *mut u8 {
            crate::foldrun::exports::buffer(min)
        }
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        extern "C" fn foldrun_error() -> u64 {
            crate::foldrun::exports::error()
        }
    };
}
pub(crate) use export;

// ---- records

/// What happened to a record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Put = 1,
    /// Delete and purge are shown only if the manifest wants "delete"; their value is empty.
    Delete = 2,
    Purge = 3,
}

/// One message of the source, as its bytes lie in the arena.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    frame: Frame<'a>,
    at: usize, // in the frame
}

// Where a record has what; of a span, the offset, and 4 bytes on the length.
const SEQ: usize = 0;
const TIME: usize = 8;
const KEY: usize = 16;
const VALUE: usize = 24;
const SUBJECT: usize = 32;
const HEADERS: usize = 40;
const OP: usize = 48;
const RECORD: usize = 64;

impl<'a> Record<'a> {
    /// The message's stream sequence: what KV calls its revision.
    pub fn seq(&self) -> u64 {
        self.frame.word(self.at + SEQ)
    }

    /// The message's time, nanoseconds since 1970.
    pub fn time(&self) -> i64 {
        self.frame.word(self.at + TIME) as i64
    }

    pub fn op(&self) -> Op {
        match self.frame.bytes(self.at + OP, 1)[0] {
            2 => Op::Delete,
            3 => Op::Purge,
            _ => Op::Put,
        }
    }

    /// The KV key, or the subject, or, with keying = "message", the seq as 8 bytes big-endian.
    pub fn key(&self) -> &'a [u8] {
        self.frame.span(self.at + KEY)
    }

    /// The message's payload.
    pub fn value(&self) -> &'a [u8] {
        self.frame.span(self.at + VALUE)
    }

    /// The message's whole subject: $KV.BUCKET.KEY for a KV bucket.
    pub fn subject(&self) -> &'a [u8] {
        self.frame.span(self.at + SUBJECT)
    }

    /// The first value of a header. Names are compared as NATS does, case included.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .find(|(have, _)| *have == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// All headers, names and values, in the message's order. A name with two values comes twice.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (frame, first, n) = (
            self.frame,
            self.frame.half(self.at + HEADERS),
            self.frame.half(self.at + HEADERS + 4),
        );
        let table = frame.half(HEADERS_AT);
        (first..first + n)
            .map(move |i| (frame.span(table + 16 * i), frame.span(table + 16 * i + 8)))
    }
}

// Where an in frame's header has what.
const SIZES: usize = 4;
const RECORDS: usize = 8;
const HEADER_COUNT: usize = 12;
const HEADERS_AT: usize = 16;
const LENGTH: usize = 20;
const PROGRESS: usize = 24;
const IN_HEADER: usize = 32;

/// An in frame in memory. It is no slice, since the progress in its header is written while records are read.
#[derive(Clone, Copy)]
struct Frame<'a> {
    start: *const u8, // 8-aligned
    len: usize,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// How many records there are, where the first is, and how far the next. A later minor version of the ABI may have
    /// longer headers and records, so both are stepped over by the sizes that the frame states.
    fn open(&self) -> Option<(usize, usize, usize)> {
        let (header, stride) = (self.half(SIZES) & 0xffff, self.half(SIZES) >> 16);
        let fits = |from: usize, n: usize, size: usize| {
            n <= self.len / size && from <= self.len - n * size
        };
        let good = self.bytes(0, 4) == b"FRI1"
            && self.half(LENGTH) == self.len
            && header >= IN_HEADER
            && stride >= RECORD
            && fits(header, self.half(RECORDS), stride)
            && fits(self.half(HEADERS_AT), self.half(HEADER_COUNT), 16);
        if good {
            Some((self.half(RECORDS), header, stride))
        } else {
            None
        }
    }

    fn bytes(&self, at: usize, n: usize) -> &'a [u8] {
        assert!(at <= self.len && n <= self.len - at);
        // Sound: within the frame, which stays as it is while 'a lasts, but for its header, where no span lies.
        unsafe { std::slice::from_raw_parts(self.start.add(at), n) }
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    fn half(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap()) as usize
    }

    fn span(&self, at: usize) -> &'a [u8] {
        let word = self.word(at);
        self.bytes(word as u32 as usize, (word >> 32) as usize)
    }
}

// ---- what a record yields

/// Why a record yields nothing. What it emitted is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is filtered out, on purpose.
    Skip,
    /// It cannot be transformed: it goes to quarantine with the code, which is the plugin's own, and the message.
    Error { code: u16, message: Vec<u8> },
}

impl Stop {
    /// `Stop::error(1, "no name")`; the message may be a `String` or bytes, too.
    pub fn error(code: u16, message: impl Into<Vec<u8>>) -> Stop {
        Stop::Error {
            code,
            message: message.into(),
        }
    }
}

/// Takes what a record yields.
pub struct Out<'a> {
    to: &'a mut Buffers,
}

impl<'a> Out<'a> {
    /// Adds an entry. The index is its ordinal in the manifest. Key and value may be empty. A record that emits the same
    /// key of an index twice must give the same value and ttl.
    pub fn emit(&mut self, index: u16, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.entry(index, key.as_ref(), value.as_ref(), 0)
    }

    /// Adds an entry that goes so long after the record's time, even if the record stays; zero is never.
    pub fn emit_ttl(
        &mut self,
        index: u16,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) {
        let nanoseconds = ttl
            .as_secs()
            .saturating_mul(1_000_000_000)
            .saturating_add(ttl.subsec_nanos() as u64);
        self.entry(index, key.as_ref(), value.as_ref(), nanoseconds)
    }

    fn entry(&mut self, index: u16, key: &[u8], value: &[u8], ttl: u64) {
        let (k, v) = (self.to.keep(key), self.to.keep(value));
        let words = [
            index as u64 | k << 32,
            key.len() as u64 | v << 32,
            value.len() as u64,
            ttl,
        ];
        self.to.frame.extend_from_slice(&words);
        #[cfg(not(target_arch = "wasm32"))]
        self.to.tried.push(Entry {
            index,
            key: key.to_vec(),
            value: value.to_vec(),
            ttl,
        });
    }
}

/// Memory for what a call emits. It is never moved while the call lasts: the host gets addresses.
struct Scratch {
    chunk: Vec<u8>,
    full: Vec<Vec<u8>>, // the chunks before it, in this call
}

impl Scratch {
    const fn new() -> Scratch {
        Scratch {
            chunk: Vec::new(),
            full: Vec::new(),
        }
    }

    fn reset(&mut self) {
        self.chunk.clear();
        self.full.clear();
    }

    fn copy(&mut self, bytes: &[u8]) -> usize {
        if bytes.len() > self.chunk.capacity() - self.chunk.len() {
            let room = bytes.len().max(2 * self.chunk.capacity()).max(64 << 10);
            let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(room));
            self.full.push(full);
        }
        let at = self.chunk.len();
        self.chunk.extend_from_slice(bytes);
        self.chunk.as_ptr() as usize + at
    }
}

// ---- JSON

/// One raw value in a JSON text: `"Paris"`, `-1.5`, `{…}`, `null`.
///
/// The scanner finds, it does not validate: it reads well-formed JSON rightly, and ill-formed JSON to some answer or to
/// `None`, always the same one. Raw values of a well-formed text may be put into another JSON text as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

/// Finds some fields in the top level of an object, in one pass that stops when it has them:
/// `let [name, id] = fields(r.value(), ["name", "id"])`. Of a name that comes twice the first counts. All are `None`
/// where the text is no object.
pub fn fields<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> [Option<Json<'a>>; N] {
    let mut values = [None; N];
    scan(object, &names, &mut values);
    values
}

/// Finds one field: `field(json, &["address", "city"])` is that of an object within the object.
pub fn field<'a>(object: &'a [u8], path: &[&str]) -> Option<Json<'a>> {
    path.iter()
        .try_fold(Json(object), |value, name| fields(value.0, [name])[0])
}

/// Returns `None` where the text ends, or is no JSON.
fn scan<'a>(b: &'a [u8], names: &[&str], values: &mut [Option<Json<'a>>]) -> Option<()> {
    let mut left = names.len();
    let mut p = space(b, 0);
    if *b.get(p)? != b'{' {
        return None;
    }
    while left > 0 {
        let open = space(b, p + 1);
        if *b.get(open)? != b'"' {
            return None;
        }
        p = stop(b, open + 1);
        let name = match *b.get(p)? {
            b'"' => {
                p += 1;
                Cow::Borrowed(&b[open + 1..p - 1])
            }
            _ => {
                p = string_end(b, open)?;
                Json(&b[open..p]).text()?
            }
        };
        p = space(b, p);
        if *b.get(p)? != b':' {
            return None;
        }
        let start = space(b, p + 1);
        p = value_end(b, start)?;
        for (want, value) in names.iter().zip(values.iter_mut()) {
            if value.is_none() && want.as_bytes() == &*name {
                *value = Some(Json(&b[start..p]));
                left -= 1;
                break;
            }
        }
        p = space(b, p);
        if *b.get(p)? != b',' {
            return None;
        }
    }
    Some(())
}

impl<'a> Json<'a> {
    /// The value as it stands in the text.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// The text of a string, if it is one. It is UTF-8 if the JSON is; half of a surrogate pair becomes U+FFFD.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        let n = self.0.len();
        if n < 2 || self.0[0] != b'"' || self.0[n - 1] != b'"' {
            return None;
        }
        let text = &self.0[1..n - 1];
        if stop(text, 0) == text.len() {
            return Some(Cow::Borrowed(text));
        }
        unescape(text).map(Cow::Owned)
    }

    /// A whole number, if it is one within i64. 1.0 and 1e6 are none.
    pub fn int(&self) -> Option<i64> {
        let (minus, digits) = match self.0 {
            [b'-', rest @ ..] => (true, rest),
            all => (false, all),
        };
        if digits.is_empty() {
            return None;
        }
        let mut n = 0i64; // below zero, where there is room for one more
        for c in digits {
            let digit = c.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            n = n.checked_mul(10)?.checked_sub(digit as i64)?;
        }
        if minus {
            Some(n)
        } else {
            n.checked_neg()
        }
    }

    /// Any number, if it is one within f64: the nearest.
    pub fn float(&self) -> Option<f64> {
        if !is_number(self.0) {
            return None;
        }
        std::str::from_utf8(self.0)
            .ok()?
            .parse()
            .ok()
            .filter(|x: &f64| x.is_finite())
    }

    /// A true or false, if it is one.
    pub fn bool(&self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

/// Appends a text as a JSON string, quotes included. Bytes from 0x80 on are taken as they are.
pub fn append_json(to: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    to.push(b'"');
    for &c in text.as_ref() {
        match c {
            b'"' | b'\\' => to.extend_from_slice(&[b'\\', c]),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\t' => to.extend_from_slice(b"\\t"),
            0..=0x1f => {
                let hex = |digit: u8| b"0123456789abcdef"[digit as usize];
                to.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(c >> 4), hex(c & 15)]);
            }
            _ => to.push(c),
        }
    }
    to.push(b'"');
}

/// Passes over what JSON takes for space, and the other control characters, too.
fn space(b: &[u8], mut p: usize) -> usize {
    while p < b.len() && b[p] <= b' ' {
        p += 1;
    }
    p
}

/// Marks the lowest byte of a word that is c, by its top bit; bits above it mean nothing.
fn same(word: u64, c: u8) -> u64 {
    const ONES: u64 = 0x0101010101010101;
    let word = word ^ (ONES * c as u64);
    word.wrapping_sub(ONES) & !word & ONES << 7
}

/// Finds the first quote or backslash from p on, or the end. Eight bytes at a time: this loop is where reading JSON spends
/// its time, and its fuel.
fn stop(b: &[u8], mut p: usize) -> usize {
    while let Some(eight) = b.get(p..p + 8) {
        let word = u64::from_le_bytes(eight.try_into().unwrap());
        let marks = same(word, b'"') | same(word, b'\\');
        if marks != 0 {
            return p + marks.trailing_zeros() as usize / 8;
        }
        p += 8;
    }
    while p < b.len() && b[p] != b'"' && b[p] != b'\\' {
        p += 1;
    }
    p
}

/// What follows the closing quote of the string at p.
fn string_end(b: &[u8], p: usize) -> Option<usize> {
    let mut p = stop(b, p + 1);
    while *b.get(p)? == b'\\' {
        b.get(p + 1)?;
        p = stop(b, p + 2);
    }
    Some(p + 1)
}

/// What follows the partner of the { or [ at p.
fn nested_end(b: &[u8], mut p: usize) -> Option<usize> {
    let mut depth = 0;
    loop {
        match *b.get(p)? {
            b'"' => {
                p = string_end(b, p)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(p + 1);
                }
            }
            _ => {}
        }
        p += 1;
    }
}

/// What follows the value at p.
fn value_end(b: &[u8], p: usize) -> Option<usize> {
    match *b.get(p)? {
        b'"' => return string_end(b, p),
        b'{' | b'[' => return nested_end(b, p),
        _ => {}
    }
    let ends = |c: &u8| (*c <= b',' && *c != b'+') || *c | 0x20 == b'}'; // ] | 0x20 is }
    let n = b[p..].iter().position(ends).unwrap_or(b.len() - p);
    if n == 0 {
        None
    } else {
        Some(p + n)
    }
}

/// The text that is written so between quotes.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len()); // no escape makes it longer
    let mut rest = text;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        if c != b'\\' {
            out.push(c);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        match kind {
            b'"' | b'\\' | b'/' => out.push(kind),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (c, used) = escaped_char(rest)?;
                rest = &rest[used..];
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Reads what follows \u, twice if it is a pair, and says how many bytes that took.
fn escaped_char(b: &[u8]) -> Option<(char, usize)> {
    let c = hex4(b)?;
    if let (0xd800..=0xdbff, Some([b'\\', b'u'])) = (c, b.get(4..6)) {
        if let Some(low @ 0xdc00..=0xdfff) = hex4(&b[6..]) {
            return Some((
                char::from_u32(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00))?,
                10,
            ));
        }
    }
    Some((char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 4))
}

fn hex4(b: &[u8]) -> Option<u32> {
    b.get(..4)?
        .iter()
        .try_fold(0, |n, &c| Some(n << 4 | (c as char).to_digit(16)?))
}

/// Whether that is digits with a sign, a fraction and an exponent, or some of these. parse takes more.
fn is_number(v: &[u8]) -> bool {
    fn digits(v: &[u8]) -> Option<&[u8]> {
        let n = v
            .iter()
            .position(|c| !c.is_ascii_digit())
            .unwrap_or(v.len());
        if n == 0 {
            None
        } else {
            Some(&v[n..])
        }
    }
    fn number(v: &[u8]) -> Option<&[u8]> {
        let mut v = digits(v.strip_prefix(b"-").unwrap_or(v))?;
        if let [b'.', rest @ ..] = v {
            v = digits(rest)?;
        }
        if let [b'e' | b'E', rest @ ..] = v {
            v = match rest {
                [b'-' | b'+', rest @ ..] => digits(rest)?,
                rest => digits(rest)?,
            };
        }
        Some(v)
    }
    number(v) == Some(&[])
}

// ---- tuple keys

/// A key made of typed elements, whose bytes sort as the tuples do: abi/TUPLE.md has them.
///
/// ```ignore
/// out.emit(0, Tuple::new().text(country).int_desc(population), value);
/// ```
///
/// In one place of a tuple, null is before false, true, integers, floats, bytes and strings. Integers and floats are not
/// one order: decide for one. The methods whose names end in desc sort the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuple(Vec<u8>);

impl AsRef<[u8]> for Tuple {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Tuple {
    pub fn new() -> Tuple {
        Tuple(Vec::with_capacity(64))
    }

    pub fn null(self) -> Tuple {
        self.with(&[0x04])
    }

    pub fn bool(self, v: bool) -> Tuple {
        self.with(&[0x08 + v as u8])
    }

    /// Appends an integer. int and uint of the same number are the same element.
    pub fn int(self, v: i64) -> Tuple {
        if v >= 0 {
            return self.uint(v as u64);
        }
        let n = size(v.unsigned_abs());
        self.with(&[0x18 - n as u8])
            .with(&(!v.unsigned_abs()).to_be_bytes()[8 - n..])
    }

    pub fn uint(self, v: u64) -> Tuple {
        let n = size(v);
        self.with(&[0x18 + n as u8]).with(&v.to_be_bytes()[8 - n..])
    }

    /// Appends a float. There is one zero, and one NaN, which is above all numbers.
    pub fn float(self, v: f64) -> Tuple {
        const SIGN: u64 = 1 << 63;
        let word = if v.is_nan() {
            0x7ff8000000000000 | SIGN
        } else if v == 0.0 {
            SIGN
        } else if v < 0.0 {
            !v.to_bits()
        } else {
            v.to_bits() | SIGN
        };
        self.with(&[0x30]).with(&word.to_be_bytes())
    }

    /// Appends bytes that are no text. For those of a string use text, so that readers find them as one.
    pub fn bytes(self, v: impl AsRef<[u8]>) -> Tuple {
        self.with(&[0x40]).escaped(v.as_ref())
    }

    /// Appends a string.
    pub fn text(self, v: impl AsRef<[u8]>) -> Tuple {
        self.with(&[0x50]).escaped(v.as_ref())
    }

    pub fn null_desc(self) -> Tuple {
        self.flipped(|t| t.null())
    }

    pub fn bool_desc(self, v: bool) -> Tuple {
        self.flipped(|t| t.bool(v))
    }

    pub fn int_desc(self, v: i64) -> Tuple {
        self.flipped(|t| t.int(v))
    }

    pub fn uint_desc(self, v: u64) -> Tuple {
        self.flipped(|t| t.uint(v))
    }

    pub fn float_desc(self, v: f64) -> Tuple {
        self.flipped(|t| t.float(v))
    }

    pub fn bytes_desc(self, v: impl AsRef<[u8]>) -> Tuple {
        self.flipped(|t| t.bytes(v))
    }

    pub fn text_desc(self, v: impl AsRef<[u8]>) -> Tuple {
        self.flipped(|t| t.text(v))
    }

    fn with(mut self, bytes: &[u8]) -> Tuple {
        self.0.extend_from_slice(bytes);
        self
    }

    fn escaped(mut self, text: &[u8]) -> Tuple {
        for &c in text {
            self.0.push(c);
            if c == 0 {
                self.0.push(0xff);
            }
        }
        self.with(&[0, 1])
    }

    fn flipped(self, append: impl FnOnce(Tuple) -> Tuple) -> Tuple {
        let from = self.0.len();
        let mut t = append(self);
        t.0[from..].iter_mut().for_each(|c| *c = !*c);
        t
    }
}

/// How many bytes v needs; 0 needs none.
fn size(v: u64) -> usize {
    8 - v.leading_zeros() as usize / 8
}

// ---- log

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

/// Writes a line to the host's log, up to 1 KiB of it. It is for finding mistakes: a line costs more than most records.
pub fn log(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        #[link(wasm_import_module = "foldrun_v1")]
        extern "C" {
            #[link_name = "log"]
            fn host_log(level: u32, text: *const u8, len: u32);
        }
        // Sound: the host reads the text, and keeps nothing.
        unsafe { host_log(level as u32, text.as_ptr(), text.len() as u32) }
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("foldrun: {:?} {}", level, text);
}

// ---- the calls

/// The buffers of an instance.
struct Buffers {
    arena: Vec<u64>, // the host writes in frames and the config here
    frame: Vec<u64>, // the out frame so far: header, results, entries
    scratch: Scratch,
    #[cfg(not(target_arch = "wasm32"))]
    tried: Vec<Entry>,
}

const STATUS_OK: u64 = 1;
const STATUS_FILTERED: u64 = 2;
const STATUS_ERROR: u64 = 3;

// The words of the parts of an out frame.
const HEADER_WORDS: usize = 4;
const RESULT_WORDS: usize = 2;
const ENTRY_WORDS: usize = 4;

impl Buffers {
    const fn new() -> Buffers {
        Buffers {
            arena: Vec::new(),
            frame: Vec::new(),
            scratch: Scratch::new(),
            #[cfg(not(target_arch = "wasm32"))]
            tried: Vec::new(),
        }
    }

    /// Runs the transform on the records of the frame that the arena begins with, and leaves the answer in self.frame:
    /// `None` where that is no frame of ABI version 1.
    fn call<F>(&mut self, len: usize, transform: F) -> Option<()>
    where
        F: Fn(&Record, &mut Out) -> Result<(), Stop>,
    {
        let (start, room) = (self.arena.as_mut_ptr(), 8 * self.arena.len());
        if len < IN_HEADER || len > room {
            return None;
        }
        let frame = Frame {
            start: start as *const u8,
            len,
            bytes: PhantomData,
        };
        let (records, mut at, stride) = frame.open()?;
        self.scratch.reset();
        self.frame.clear();
        self.frame.resize(HEADER_WORDS + RESULT_WORDS * records, 0);
        for i in 0..records {
            // Sound: within the header. Volatile: it must be there if transform traps.
            unsafe {
                (start as *mut u32)
                    .add(PROGRESS / 4)
                    .write_volatile((i as u32).to_le())
            };
            let from = self.frame.len();
            let verdict = transform(&Record { frame, at }, &mut Out { to: self });
            self.result(i, from, verdict);
            at += stride;
        }
        self.header(records);
        Some(())
    }

    /// Writes the result of record i, whose entries begin at word from of the frame.
    fn result(&mut self, i: usize, from: usize, verdict: Result<(), Stop>) {
        let (status, message) = match &verdict {
            Ok(()) => (STATUS_OK, &[][..]),
            Err(Stop::Skip) => (STATUS_FILTERED, &[][..]),
            Err(Stop::Error { code, message }) => {
                (STATUS_ERROR | (*code as u64) << 16, &message[..])
            }
        };
        if verdict.is_err() {
            self.frame.truncate(from);
        }
        let entries = (self.frame.len() - from) / ENTRY_WORDS;
        let said = self.keep(message) | (message.len() as u64) << 32;
        let at = HEADER_WORDS + RESULT_WORDS * i;
        self.frame[at..at + RESULT_WORDS].copy_from_slice(&[status | (entries as u64) << 32, said]);
    }

    /// Completes the out frame.
    fn header(&mut self, records: usize) {
        let entries = (self.frame.len() - HEADER_WORDS - RESULT_WORDS * records) / ENTRY_WORDS;
        let sizes = ((8 * HEADER_WORDS) | (8 * RESULT_WORDS) << 16) as u64;
        self.frame[0] = u32::from_le_bytes(*b"FRO1") as u64 | sizes << 32;
        self.frame[1] = (8 * ENTRY_WORDS) as u64 | (records as u64) << 32;
        self.frame[2] = entries as u64;
    }

    /// The address at which bytes stay until the next call: that of a copy, unless they lie in the arena.
    fn keep(&mut self, bytes: &[u8]) -> u64 {
        let at = bytes.as_ptr() as usize;
        let inside = at.wrapping_sub(self.arena.as_ptr() as usize) < 8 * self.arena.len();
        let kept = if inside || bytes.is_empty() {
            at
        } else {
            self.scratch.copy(bytes)
        };
        kept as u32 as u64
    }
}

/// What the module exports; macro export makes the functions.
#[cfg(target_arch = "wasm32")]
pub mod exports {
    use super::*;
    use std::cell::UnsafeCell;

    /// A variable of an instance, which has one thread, and which the host calls one call at a time.
    struct Global<T>(UnsafeCell<T>);
    unsafe impl<T> Sync for Global<T> {}

    impl<T> Global<T> {
        const fn new(v: T) -> Global<T> {
            Global(UnsafeCell::new(v))
        }

        /// Sound as long as no caller has two for the same variable.
        #[allow(clippy::mut_from_ref)]
        fn get(&self) -> &mut T {
            unsafe { &mut *self.0.get() }
        }
    }

    pub type Call = Box<dyn Fn(*mut u8, u32) -> u64>;

    static BUFFERS: Global<Buffers> = Global::new(Buffers::new());
    static CALL: Global<Option<Call>> = Global::new(None); // where there is a config
    static FAILURE: Global<String> = Global::new(String::new());

    fn fail(why: impl Into<String>) {
        *FAILURE.get() = why.into();
    }

    fn pack(at: *const u8, len: usize) -> u64 {
        (at as u64) << 32 | len as u64
    }

    pub fn error() -> u64 {
        let text = FAILURE.get();
        pack(text.as_ptr(), text.len())
    }

    /// The arena for the in frame: 0 where there is no memory for it. It only grows.
    pub fn buffer(min: u32) -> *mut u8 {
        const LEAST: usize = (64 << 10) + 64;
        const MOST: usize = 1 << 30;
        let arena = &mut BUFFERS.get().arena;
        let bytes = LEAST.max(min as usize);
        if bytes > MOST {
            return std::ptr::null_mut();
        }
        if bytes > 8 * arena.len() {
            *arena = Vec::new(); // so that its memory may serve the new one
            let words = bytes / 8 + bytes / 32 + 1;
            if arena.try_reserve_exact(words).is_err() {
                return std::ptr::null_mut();
            }
            arena.resize(words, 0);
        }
        arena.as_mut_ptr() as *mut u8
    }

    pub fn init(
        at: *const u8,
        len: u32,
        configure: impl FnOnce(&[u8]) -> Result<Call, String>,
    ) -> u32 {
        report_panics();
        // Sound: the host has written the config there.
        let config = unsafe { std::slice::from_raw_parts(at, len as usize) }.to_vec();
        match configure(&config) {
            Ok(call) => {
                *CALL.get() = Some(call);
                0
            }
            Err(why) => {
                fail(why);
                1
            }
        }
    }

    pub fn configured(at: *mut u8, len: u32) -> u64 {
        match CALL.get() {
            Some(call) => call(at, len),
            None => {
                fail("foldrun_init was not called");
                0
            }
        }
    }

    pub fn transform<F>(at: *mut u8, len: u32, transform: F) -> u64
    where
        F: Fn(&Record, &mut Out) -> Result<(), Stop>,
    {
        report_panics();
        let buffers = BUFFERS.get();
        if at != buffers.arena.as_mut_ptr() as *mut u8
            || buffers.call(len as usize, transform).is_none()
        {
            fail("the in frame is none of ABI version 1");
            return 0;
        }
        pack(buffers.frame.as_ptr() as *const u8, 8 * buffers.frame.len())
    }

    /// Makes a panic, which ends the instance, say in the host's log what it was about.
    fn report_panics() {
        static SET: Global<bool> = Global::new(false);
        if !std::mem::replace(SET.get(), true) {
            std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
        }
    }
}

// ---- tests

/// A record to try a transform with.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub subject: &'a [u8],
    pub headers: &'a [(&'a str, &'a [u8])],
    pub seq: u64,
    pub time: i64,
    pub op: Op,
}

#[cfg(not(target_arch = "wasm32"))]
impl<'a> Message<'a> {
    /// A put of a value. Set the other fields as you like.
    pub fn new(key: &'a str, value: &'a str) -> Message<'a> {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        Message {
            key,
            value,
            subject: key,
            headers: &[],
            seq: 1,
            time: 0,
            op: Op::Put,
        }
    }

    /// The in frame that holds it alone.
    fn frame(&self) -> Vec<u64> {
        let tables = IN_HEADER + RECORD + 16 * self.headers.len();
        let mut heap = Vec::new();
        let mut span = |text: &[u8]| {
            let at = tables + heap.len();
            heap.extend_from_slice(text);
            at as u64 | (text.len() as u64) << 32
        };
        let (key, value, subject) = (span(self.key), span(self.value), span(self.subject));
        let names: Vec<u64> = self
            .headers
            .iter()
            .flat_map(|(name, value)| [span(name.as_bytes()), span(value)])
            .collect();
        let n = self.headers.len() as u64;
        let magic = u32::from_le_bytes(*b"FRI1") as u64;
        let mut words = vec![magic | 32 << 32 | 64 << 48, 1 | n << 32];
        words.push((IN_HEADER + RECORD) as u64 | ((tables + heap.len()) as u64) << 32);
        words.extend([
            u32::MAX as u64,
            self.seq,
            self.time as u64,
            key,
            value,
            subject,
            n << 32,
            self.op as u64,
            0,
        ]);
        words.extend(names);
        heap.resize(heap.len() + heap.len().wrapping_neg() % 8, 0);
        words.extend(
            heap.chunks(8)
                .map(|eight| u64::from_ne_bytes(eight.try_into().unwrap())),
        );
        words
    }
}

/// One of the entries that a record yields. A ttl is in nanoseconds.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u16,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub ttl: u64,
}

/// Runs a transform on one record, for a plugin's own tests: cargo test, on the machine at hand. One with a config is tried
/// as `attempt(|r, out| transform(&config, r, out), &message)`.
#[cfg(not(target_arch = "wasm32"))]
pub fn attempt<F>(transform: F, message: &Message) -> Result<Vec<Entry>, Stop>
where
    F: Fn(&Record, &mut Out) -> Result<(), Stop>,
{
    let mut buffers = Buffers::new();
    buffers.arena = message.frame();
    let verdict = std::cell::RefCell::new(Ok(()));
    let len = buffers.arena[2] >> 32;
    let call = buffers.call(len as usize, |r, out| {
        *verdict.borrow_mut() = transform(r, out);
        verdict.borrow().clone()
    });
    call.expect("the frame is ours");
    verdict.into_inner().map(|()| buffers.tried)
}
