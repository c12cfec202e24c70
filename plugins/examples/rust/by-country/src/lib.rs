//! by-country files each city under country/admin1/name, so that a prefix names a country or a part of one.
mod foldrun;

use std::borrow::Cow;

use foldrun::{fields, Json, Out, Record, Stop};

foldrun::export!(transform);

fn transform(r: &Record, out: &mut Out) -> Result<(), Stop> {
    let (country, admin1, name, id, population) =
        match fields(r.value(), ["country", "admin1", "name", "id", "population"]) {
            [Some(country), Some(admin1), Some(name), Some(id), Some(population)] => {
                (country, admin1, name, id, population)
            }
            _ => {
                return Err(Stop::error(
                    1,
                    "country, admin1, name, id or population is missing",
                ))
            }
        };
    let key = [
        &text(country)?,
        &b"/"[..],
        &text(admin1)?,
        b"/",
        &text(name)?,
    ]
    .concat();
    let value = [
        &b"{\"id\":"[..],
        id.raw(),
        b",\"population\":",
        population.raw(),
        b"}",
    ]
    .concat();
    out.emit(0, key, value);
    Ok(())
}

fn text(raw: Json<'_>) -> Result<Cow<'_, [u8]>, Stop> {
    raw.text()
        .ok_or_else(|| Stop::error(2, [b"not a string: ", raw.raw()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldrun::{attempt, Entry, Message};

    #[test]
    fn paris() {
        let got = attempt(
            transform,
            &Message::new(
                "1",
                r#"{"id":1,"name":"P\u00e9","country":"FR","admin1":"11","population":5}"#,
            ),
        );
        assert_eq!(
            got,
            Ok(vec![Entry {
                index: 0,
                key: "FR/11/Pé".into(),
                value: r#"{"id":1,"population":5}"#.into(),
                ttl: 0
            }])
        );
    }
}
