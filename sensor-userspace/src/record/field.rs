//! Fields outside the hot path: given in any order, written sorted.

use anyhow::{Result, bail};

use super::canonical::{self, Object};

/// The value of a field outside the hot path; strings are encoded when written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Str(&'a str),
    Bytes(&'a [u8]),
    Int(i64),
    Uint(u64),
    Bool(bool),
    Strings(Vec<&'a str>),
    Object(Vec<(&'a str, Field<'a>)>),
    /// Canonical bytes already.
    Raw(&'a [u8]),
}

/// Writes an object of these fields, sorted by name.
pub fn write_object(fields: &[(&str, Field<'_>)], out: &mut Vec<u8>) -> Result<()> {
    let mut sorted: Vec<&(&str, Field<'_>)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (n, (name, value)) in sorted.iter().enumerate() {
        if n > 0 && sorted[n - 1].0 == *name {
            bail!("field {name:?} is given twice; give it once");
        }
        if name.is_empty() || !name.bytes().all(canonical::is_plain) {
            bail!("field name {name:?} is not possible in a record; use letters, digits and `_`");
        }
        if let Field::Object(inner) = value {
            // Refused here, where it can be said: the writer below cannot fail.
            write_object(inner, &mut Vec::new())?;
        }
    }
    Object::write(out, |object| {
        for (name, value) in sorted {
            match value {
                Field::Str(text) => object.str(name, text),
                Field::Bytes(bytes) => object.str(name, bytes),
                Field::Int(number) => object.int(name, *number),
                Field::Uint(number) => object.uint(name, *number),
                Field::Bool(truth) => object.bool(name, *truth),
                Field::Strings(texts) => object.strings(name, texts),
                Field::Raw(bytes) => object.raw(name, bytes),
                Field::Object(inner) => {
                    let mut bytes = Vec::new();
                    // Its names were checked above; an object never half-written.
                    if write_object(inner, &mut bytes).is_ok() {
                        object.raw(name, &bytes);
                    }
                }
            }
        }
    });
    Ok(())
}
