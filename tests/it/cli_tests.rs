//! The commands as a shell runs them: into pipes that nobody reads, on a full disk, without a broker.

use super::serve_tests::training;
use super::service::{baseline, free_port};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeWriter};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What a shell says of a program that SIGPIPE ended.
pub const CLOSED_PIPE: Option<i32> = Some(141);

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments);
    command
}

/// A pipe that nobody reads.
fn closed() -> PipeWriter {
    std::io::pipe().expect("a pipe").1
}

/// Runs a command whose standard output nobody reads.
pub fn unread(arguments: &[&str]) -> Output {
    command(arguments).stdout(closed()).output().expect("the command runs")
}

/// A folder with a stream, a baseline, a good configuration for a broker that is not there, and a bad one.
fn folder(port: u16) -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_owned();
    baseline(&dir, "m", "v1", &["x", "score"], &training(), &["score"]);
    let good = format!(
        "kafka.brokers = \"127.0.0.1:{port}\"\ntopics.events = [\"events\"]\n\
         [[model]]\nname = \"m\"\nbaselines = {{ v1 = \"m-v1.parquet\" }}\n"
    );
    fs::write(dir.join("bad.toml"), format!("{good}nonsense = 1\n")).expect("written");
    fs::write(dir.join("good.toml"), good).expect("written");
    (folder, move |name: &str| PathBuf::from(&dir).join(name).display().to_string())
}

#[test]
fn a_command_whose_reader_has_gone_ends_quietly() {
    let (_folder, path) = folder(1);
    let (data, file, config) = (path("m-v1.csv"), path("m-v1.parquet"), path("good.toml"));
    let build = ["baseline", &data, "--model", "m", "--version", "v1", "-o", &path("other.parquet")];
    let evaluate = ["evaluate", &data, "--reference", "500", "--pane", "50"];
    let commands: [&[&str]; 6] = [
        &["check", &config],
        &["baseline", "show", &file],
        &build,
        &evaluate,
        &["simulate", "--schedules", "1"],
        &["demo", "--once"],
    ];
    for words in commands {
        let output = unread(words);
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (CLOSED_PIPE, ""),
            "{words:?}"
        );
    }
    assert!(fs::exists(path("other.parquet")).expect("asked"), "its work is done before it tells of it");
}

#[test]
fn errors_that_nobody_reads_leave_the_exit_code_as_it_is() {
    let (_folder, path) = folder(1);
    for words in
        [["check", &path("bad.toml")], ["serve", &path("bad.toml")], ["accounting", &path("bad.toml")]]
    {
        let status = command(&words).stdout(closed()).stderr(closed()).status().expect("the command runs");
        assert_eq!(status.code(), Some(64), "{words:?}");
    }
    let nowhere = command(&["baseline", "show", "/nowhere"]).stderr(closed()).status();
    assert_eq!(nowhere.expect("the command runs").code(), Some(1));
}

#[test]
fn a_full_disk_is_told() {
    let (_folder, path) = folder(1);
    let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = command(&["check", &path("good.toml")]).stdout(full()).output().expect("the command runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("tidegate: cannot write to standard output: "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn an_online_check_says_whom_it_asks_before_it_waits() {
    let port = free_port();
    let (_folder, path) = folder(port);
    let mut child = command(&["check", &path("good.toml"), "--online"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), format!("asking 127.0.0.1:{port} …"));
    assert!(child.try_wait().expect("a status").is_none(), "it is still asking");
    assert!(next().starts_with(&format!("no broker of 127.0.0.1:{port} answers")));
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}
