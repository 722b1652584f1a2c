//! `schemas/tidegate.proto` says what the records in the code are: same messages, names, types and numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Message → field name → "label type number".
type Messages = BTreeMap<String, BTreeMap<String, String>>;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn in_schema(text: &str) -> Messages {
    let (mut messages, mut current) = (Messages::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(name) = line.strip_prefix("message ") {
            current = name.trim_end_matches(" {").to_owned();
            messages.entry(current.clone()).or_default();
        } else if let Some((left, number)) = line.trim_end_matches(';').split_once(" = ")
            && !line.starts_with("syntax")
        {
            let mut words: Vec<&str> = left.split(' ').collect();
            let name = words.pop().expect("a field has a name").to_owned();
            let field = format!("{} {number}", words.join(" "));
            messages.get_mut(&current).expect("fields stand in messages").insert(name, field);
        }
    }
    messages
}

/// Reads the prost attributes of the structs in a source file.
fn in_code(text: &str, messages: &mut Messages) {
    let (mut current, mut attribute) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub struct ") {
            current = name.trim_end_matches(" {").to_owned();
        } else if line.starts_with("#[prost(") {
            attribute = line.trim_start_matches("#[prost(").trim_end_matches(")]").to_owned();
        } else if !attribute.is_empty()
            && let Some((name, kind)) = line.trim_start_matches("pub ").split_once(": ")
        {
            if !attribute.starts_with("oneof") {
                let fields = messages.entry(current.clone()).or_default();
                fields.insert(name.to_owned(), field(&attribute, kind.trim_end_matches(',')));
            }
            attribute.clear();
        } else if let Some((name, kind)) = line.strip_suffix("),").and_then(|variant| variant.split_once('('))
        {
            // A variant of the one oneof there is.
            let fields = messages.entry("TallyRecord".to_owned()).or_default();
            if !attribute.is_empty() {
                fields.insert(name.to_lowercase(), field(&attribute, kind));
                attribute.clear();
            }
        }
    }
}

fn field(attribute: &str, kind: &str) -> String {
    let parts: Vec<&str> = attribute.split(", ").collect();
    let number = attribute.split("tag = \"").nth(1).expect("a tag").trim_end_matches('"');
    let inner = kind.rsplit('<').next().expect("a type").trim_end_matches('>');
    let of = if parts[0] == "message" { inner } else { parts[0] };
    let label = match () {
        () if parts.contains(&"repeated") => "repeated ",
        () if parts.contains(&"optional") && parts[0] != "message" => "optional ",
        () => "",
    };
    format!("{label}{of} {number}")
}

#[test]
fn the_protobuf_schema_is_the_code_s() {
    let mut code = Messages::new();
    in_code(&read("src/tally/record.rs"), &mut code);
    in_code(&read("src/judge/state_record.rs"), &mut code);
    in_code(&read("src/judge/weights.rs"), &mut code);
    in_code(&read("src/judge/evidence/record.rs"), &mut code);
    in_code(&read("src/judge/dispersion.rs"), &mut code);
    let schema = in_schema(&read("schemas/tidegate.proto"));
    assert!(code.len() >= 10 && code["Delta"].len() == 10, "{code:#?}");
    assert_eq!(schema, code);
}
