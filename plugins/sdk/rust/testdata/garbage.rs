//! Garbage does what by-country does with strings and a map that it throws away.
mod foldrun;

use foldrun::{fields, Out, Record, Stop};
use std::collections::HashMap;

foldrun::export!(transform);

fn transform(r: &Record, out: &mut Out) -> Result<(), Stop> {
    let names = ["country", "admin1", "name", "id", "population"];
    let mut city = HashMap::new();
    for (name, value) in names.iter().zip(fields(r.value(), names)) {
        let value = value.ok_or_else(|| Stop::error(1, *name))?;
        let text = value.text().unwrap_or_else(|| value.raw().into());
        city.insert(
            name.to_string(),
            String::from_utf8_lossy(&text).into_owned(),
        );
    }
    let key = format!("{}/{}/{}", city["country"], city["admin1"], city["name"]);
    out.emit(
        0,
        key,
        format!(
            r#"{{"id":{},"population":{}}}"#,
            city["id"], city["population"]
        ),
    );
    Ok(())
}
