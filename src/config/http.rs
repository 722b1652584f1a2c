//! `[http]`: where to listen, and who may ask.

use super::load::{Files, read_secret_file};
use super::reader::Reader;
use super::{HttpConfig, TokenConfig};
use crate::http::Scope;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) fn read_http(reader: Reader, files: &Files) -> HttpConfig {
    let default = HttpConfig::default();
    let http = HttpConfig {
        listen: read_address(&reader, "listen").unwrap_or(default.listen),
        probes_listen: read_address(&reader, "probes_listen"),
        max_connections: reader.integer("max_connections", default.max_connections as i64, 8, 65_536)
            as usize,
        tokens: read_tokens(&reader, files),
    };
    if let Some(found) = reader.find("probes_listen").filter(|_| http.probes_listen == Some(http.listen)) {
        reader.refuse(&found, "is the same as http.listen", "expected another port; or leave it out");
    }
    reader.finish();
    http
}

fn read_address(reader: &Reader, key: &'static str) -> Option<SocketAddr> {
    let (found, text) = (reader.find(key)?, reader.string(key)?);
    let address = text.parse().ok();
    if address.is_none() {
        let expected = "expected address:port, e.g. \"0.0.0.0:9464\"";
        reader.refuse(&found, format!("\"{text}\" is no socket address"), expected);
    }
    address
}

fn read_tokens(reader: &Reader, files: &Files) -> Vec<TokenConfig> {
    let mut tokens: Vec<TokenConfig> = Vec::new();
    for one in reader.tables("token") {
        let (path, at) = (format!("{}.name", one.path), one.at);
        let token = read_token(one, files);
        if !token.name.is_empty() && tokens.iter().any(|other| other.name == token.name) {
            let problem = format!("\"{}\" is there twice", token.name);
            reader.errors.add(at, &path, problem, "expected a name of its own");
        }
        tokens.push(token);
    }
    tokens
}

fn read_token(reader: Reader, files: &Files) -> TokenConfig {
    if reader.find("name").is_none() {
        reader.missing("name", "who holds the token");
    }
    let token = TokenConfig {
        name: reader.string("name").unwrap_or_default(),
        file: read_token_file(&reader, files).unwrap_or_default(),
        scope: read_scope(&reader),
    };
    reader.finish();
    token
}

fn read_token_file(reader: &Reader, files: &Files) -> Option<PathBuf> {
    let Some(found) = reader.find("file") else {
        reader.missing("file", "a file that holds the bearer token");
        return None;
    };
    let text = reader.string("file")?;
    if let Err(problem) = read_secret_file(&text, files) {
        reader.refuse(&found, problem, "expected a file that holds the bearer token");
        return None;
    }
    Some(files.base_dir.join(text))
}

fn read_scope(reader: &Reader) -> Scope {
    let (Some(found), Some(text)) = (reader.find("scope"), reader.string("scope")) else {
        return Scope::Read;
    };
    match text.as_str() {
        "read" => Scope::Read,
        "admin" => Scope::Admin,
        other => {
            let problem = format!("\"{other}\" is no scope");
            reader.refuse(&found, problem, "expected \"read\" or \"admin\" (which includes read)");
            Scope::Read
        }
    }
}
