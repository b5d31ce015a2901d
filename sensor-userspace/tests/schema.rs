//! Real records fit the published schemas, and the published schemas are those of this code.

mod support;

use std::collections::HashMap;
use std::fs;

use jsonschema::Validator;
use rgt::cli::schema::{all, text};
use rgt::ledger::Reader;
use serde_json::Value;
use support::{Random, Scratch, fill, repository};

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

#[test]
fn published_schemas_are_current() {
    let dir = repository().join("docs/schema");
    for (name, schema) in all() {
        let file = dir.join(format!("{name}.json"));
        if std::env::var_os("RGT_UPDATE").is_some() {
            fs::write(&file, text(&schema).unwrap()).unwrap();
        }
        let published = fs::read_to_string(&file).unwrap();
        assert_eq!(published, text(&schema).unwrap(), "{name}: run this test with RGT_UPDATE=1");
    }
}

#[test]
fn records_fit() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut Random::seeded(), 8, 300);
    ledger.close().unwrap();
    let article = fs::read_to_string(repository().join("docs/schema/article.json")).unwrap();
    let article = validator(&serde_json::from_str(&article).unwrap());
    let envelope = validator(&all().into_iter().find(|(name, _)| *name == "envelope").unwrap().1);
    // As a consumer has them: the files alone, each by its own `$id`.
    let published: HashMap<Value, Validator> = fs::read_dir(repository().join("docs/schema"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .map(|text| serde_json::from_str::<Value>(&text).unwrap())
        .map(|schema| (schema["$id"].clone(), validator(&schema)))
        .collect();
    let mut reader = Reader::open(&scratch.ledger()).unwrap();
    let mut line = Vec::new();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    while reader.next_line(&mut line).unwrap().is_some() {
        let event: Value = serde_json::from_slice(&line).unwrap();
        let category = event["type"].as_str().unwrap().strip_prefix("rgt.").unwrap().to_string();
        let own = published
            .get(&event["dataschema"])
            .unwrap_or_else(|| panic!("no published schema is {}", event["dataschema"]));
        let mut wanted = vec![("envelope", &envelope, &event), ("its own", own, &event["data"])];
        if category.starts_with("policy.") {
            wanted.push(("the article's", &article, &event["data"]));
        }
        for (which, validator, value) in wanted {
            let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{which} schema: {errors:?}: {event}");
        }
        *seen.entry(category).or_default() += 1;
    }
    assert!(seen.len() == 5 && seen.values().all(|&count| count > 1), "{seen:?}");
}
