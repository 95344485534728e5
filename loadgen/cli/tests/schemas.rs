//! The schemas of scenario files and fault plans: the committed ones are those of the types, and every shipped file names its own and
//! follows it.

use std::fs;
use std::path::{Path, PathBuf};

use plan::schema::{faults_schema, scenario_schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for (name, schema) in [("scenario", scenario_schema()), ("faults", faults_schema())] {
        let path = root().join(format!("loadgen/schema/{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&path, &schema).expect("it is written");
        }
        let committed = fs::read_to_string(&path).expect("the schema is there");
        assert!(
            committed == schema,
            "run: loadgen schema {name} > loadgen/schema/{name}.schema.json"
        );
    }
}

#[test]
fn every_shipped_file_names_its_schema_and_follows_it() {
    for (folder, schema) in [
        ("scenarios", scenario_schema()),
        ("scenarios/chaos", faults_schema()),
    ] {
        let schema = serde_json::from_str(&schema).expect("JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let mut files = 0;
        for entry in fs::read_dir(root().join(folder)).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).expect("a text");
            let named = text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("#:schema "))
                .expect("the first line names the schema");
            let named = path.parent().expect("a folder").join(named);
            assert!(named.is_file(), "{}: {}", path.display(), named.display());
            let value: serde_json::Value = toml::from_str(&text).expect("TOML");
            if let Err(fault) = validator.validate(&value) {
                panic!("{}: {fault}", path.display());
            }
        }
        assert!(files > 5, "{folder}: {files}");
        // It would notice a wrong key.
        let wrong = serde_json::json!({ "name": "t", "description": "t", "phse": [] });
        assert!(validator.validate(&wrong).is_err());
    }
}
