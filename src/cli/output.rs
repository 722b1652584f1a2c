//! What commands write: the one way to standard output, and to the person at the terminal.

use anyhow::Context;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};

/// How a command ends whose reader has gone: as a shell says of a program that SIGPIPE (13) has ended, 128 + 13.
/// So `tidegate panes … | head` is quiet, and under `pipefail` it can be told that not everything was read.
pub const EXIT_CLOSED_PIPE: u8 = 141;

/// Nobody reads standard output any more: not worth a word, and nothing is left to do.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub struct ClosedPipe;

/// Writes to standard output at once.
///
/// # Errors
/// [`ClosedPipe`] when its reader has gone, else what the system says.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    judged(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a value as indented JSON, and a line's end.
///
/// # Errors
/// As for [`print`], and when the value has no JSON.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Says one line on standard error. Who has closed it does not want to be told.
pub fn tell(line: impl Display) {
    let _ = writeln!(stderr().lock(), "{line}");
}

fn judged(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        written => written.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        assert!(judged(Ok(())).is_ok());
        let closed = judged(Err(ErrorKind::BrokenPipe.into())).expect_err("closed");
        assert!(closed.is::<ClosedPipe>(), "{closed}");
        let full = judged(Err(ErrorKind::StorageFull.into())).expect_err("full");
        assert!(!full.is::<ClosedPipe>() && full.to_string().contains("standard output"), "{full}");
    }
}
