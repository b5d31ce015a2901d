//! YAML as a tree that remembers where everything stood.
//!
//! Only what a policy needs: maps with plain keys, lists, scalars. Anchors, tags and several documents
//! are refused, so that what a reader sees in the file is what is in force.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{At, Report};

/// Deeper than any policy goes; bounds the recursion on hostile input.
const MAX_DEPTH: usize = 16;
/// Larger than any policy written by people; bounds the memory of a reader.
pub(super) const MAX_BYTES: usize = 4 << 20;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub at: At,
    pub key: String,
    pub value: Node,
}

impl Node {
    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Scalar { plain: true, text } if text.is_empty() || text == "~" || text == "null" => {
                "nothing".to_owned()
            }
            Kind::Scalar { text, .. } => format!("`{text}`"),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }

    /// The items of a list, or the one thing in its place.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { plain: true, text } if text.is_empty() || text == "~" || text == "null" => None,
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The one document of `text`; `None` if it cannot be read, with the reason in `report`.
pub(super) fn read(text: &str, file: u16, report: &mut Report) -> Option<Node> {
    let top = At { file, ..At::TOP };
    if text.len() > MAX_BYTES {
        let cause = format!("the file has {} bytes, more than the limit of {MAX_BYTES}", text.len());
        report.error(top, cause, "split it into several policies");
        return None;
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), file, report };
    let mut root = None;
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            _ if root.is_some() => {
                reader.report.error(at, "a second YAML document", "one policy a file: split it at `---`");
                return None;
            }
            event => root = Some(reader.node(event, at, 0)?),
        }
    }
    if root.is_none() {
        report.error(top, "the file is empty", "a policy begins with `version: 1`");
    }
    root
}

struct Reader<'input, 'report> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    file: u16,
    report: &'report mut Report,
}

impl<'input> Reader<'input, '_> {
    fn next(&mut self) -> Option<(Event<'input>, At)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Some((event, place(self.file, span))),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = At { file: self.file, line: marker.line(), column: marker.col() + 1 };
                let text = format!("not valid YAML: {}", error.info());
                let hint = "check the indentation, and put quotes around `\"*\"`, `\"**/…\"`, `\"${…}\"` and whatever holds `: `";
                self.report.error(at, text, hint);
                None
            }
            // The parser ends with StreamEnd; running dry before it is an error of its own.
            None => {
                self.report.error(
                    At { file: self.file, ..At::TOP },
                    "the YAML ends in the middle",
                    "complete the file",
                );
                None
            }
        }
    }

    fn node(&mut self, event: Event<'input>, at: At, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            let text = format!("nested more than {MAX_DEPTH} deep");
            self.report.error(at, text, "no part of a policy goes that deep");
            return None;
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            self.report.error(at, "YAML anchors (`&name`) are no part of the language", "name the list under `lists:`");
        }
        if tagged {
            self.report.error(at, "YAML tags (`!name`) are no part of the language", "remove the tag");
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                Some(Node { at, kind: Kind::Scalar { text: text.into_owned(), plain } })
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, item_at) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Some(Node { at, kind: Kind::List(items) });
                    }
                    items.push(self.node(event, item_at, depth + 1)?);
                }
            }
            Event::MappingStart(..) => self.map(at, depth),
            Event::Alias(_) => {
                let hint = "name the list under `lists:` and say `$name`; a path that begins with `*` needs quotes";
                self.report.error(at, "YAML aliases (`*name`) are no part of the language", hint);
                Some(Node { at, kind: Kind::Scalar { text: String::new(), plain: true } })
            }
            _ => {
                self.report.error(at, "not valid YAML: a value was expected here", "complete the file");
                None
            }
        }
    }

    fn map(&mut self, at: At, depth: usize) -> Option<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        // Lists may be thousands.
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, key_at) = self.next()?;
            if event == Event::MappingEnd {
                return Some(Node { at, kind: Kind::Map(entries) });
            }
            let key = self.node(event, key_at, depth + 1)?;
            let (value_event, value_at) = self.next()?;
            let value = self.node(value_event, value_at, depth + 1)?;
            let Some(name) = key.text().map(str::to_owned) else {
                let text = format!("a key must be a word, this one is {}", key.describe());
                self.report.error(key_at, text, "write `key: value`");
                continue;
            };
            if let Some(line) = lines.get(&name) {
                let text = format!("`{name}` stands here a second time (first in line {line})");
                self.report.error(key_at, text, "keep one of the two");
                continue;
            }
            lines.insert(name.clone(), key_at.line);
            entries.push(Entry { at: key_at, key: name, value });
        }
    }
}

fn place(file: u16, span: Span) -> At {
    At { file, line: span.start.line(), column: span.start.col() + 1 }
}
