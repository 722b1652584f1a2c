//! The guard of a test broker: a script that holds the broker and never outlives the test process.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The other end of `guard.sh`.
pub struct Guard {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts the guard, not yet the broker; also the directory where it keeps log and data.
    ///
    /// `ports`: the broker's and its controller's; with security also those of SASL and of client certificates.
    pub fn spawn(ports: &[u16]) -> (Self, PathBuf) {
        let dir = tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().expect("a directory").keep();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/guard.sh");
        let mut child = Command::new("bash")
            .arg(script)
            .arg(&dir)
            .args(ports.iter().map(u16::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // a signal to the tests' group must not take the guard with it
            .spawn()
            .expect("bash runs tests/kafka/guard.sh");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        (Self { child, orders, answers }, dir)
    }

    /// Gives one order and returns the answer to it.
    pub fn order(&mut self, order: &str) -> std::io::Result<String> {
        let orders = self.orders.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        writeln!(orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take()); // the guard ends the broker, removes its directory, and leaves
        let _ = self.child.wait();
    }
}

/// Two free ports below the ephemeral range: no outgoing connection can take them while a broker is down.
pub fn free_ports() -> (u16, u16) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(26); // processes side by side begin at different places
    let pair = (0..5_000).find_map(|_| {
        let step = NEXT.fetch_add(2, Ordering::Relaxed);
        let port = 20_000 + u16::try_from(first.wrapping_add(step) % 10_000).expect("below 10,000") / 2 * 2;
        let free = |p: u16| TcpListener::bind(("127.0.0.1", p)).is_ok();
        (free(port) && free(port + 1)).then_some((port, port + 1))
    });
    pair.expect("two free ports between 20000 and 30000")
}
