//! What a key's value is in a file, and as the text that `--set` would have.

use toml::de::DeValue;

pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// What a key's value is in a file.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// One, or several in a list.
    Texts,
    Number,
    Truth,
    /// Whatever another program takes.
    Any,
}

impl Kind {
    pub fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Texts => "a string or a list of strings",
            Kind::Number => "a number",
            Kind::Truth => "`true` or `false`",
            Kind::Any => "a string, a number or a boolean",
        }
    }

    /// The value as `--set` would have it, if it is of this kind.
    pub fn text(self, value: &DeValue<'_>) -> Option<String> {
        match (self, value) {
            (Kind::Texts, DeValue::Array(items)) => {
                let all: Option<Vec<String>> = items.iter().map(|item| Kind::Text.text(item.get_ref())).collect();
                all.map(|all| all.join(","))
            }
            (Kind::Text | Kind::Texts, DeValue::String(_))
            | (Kind::Number, DeValue::Integer(_))
            | (Kind::Truth, DeValue::Boolean(_))
            | (Kind::Any, _) => scalar(value),
            _ => None,
        }
    }
}
