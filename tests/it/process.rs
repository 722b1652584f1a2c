//! What a process holds, as the kernel says.

/// Resident memory in bytes; `of` is a process id or `self`.
pub fn rss(of: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// Open file descriptors.
pub fn descriptors(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/{of}/fd")).map_or(0, Iterator::count)
}

pub fn threads(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/{of}/task")).map_or(0, Iterator::count)
}

/// The process that listens on a port of 127.0.0.1 (or of all addresses).
pub fn listener(port: u16) -> Option<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let suffix = format!(":{port:04X}");
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).copied())?
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbered.into_iter().find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| target.to_str() == Some(socket.as_str()))
        })
    })
}
