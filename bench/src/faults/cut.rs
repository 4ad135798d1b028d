//! A link that is cut: packets to and from a worker vanish, as when its machine has lost its power or its cable.
//!
//! Nobody is told of it: no connection is refused or reset, which a signal to the worker's process can't bring about.
//! It takes nftables and root; elsewhere nothing can be cut.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

/// Lasts until it is dropped.
#[derive(Debug)]
pub struct Cut {
    table: String,
}

impl Cut {
    /// Whether links can be cut here, and if not what is missing.
    pub fn is_possible() -> Result<(), String> {
        let asked = nft("list tables");
        asked.map_err(|error| format!("links are not cut, for which nftables has to be installed and this to run as root: {error}"))
    }

    /// Nothing passes to these ports nor from them.
    pub fn ports(ports: &[u16]) -> io::Result<Self> {
        let table = format!("pd_bench_{:x}", fastrand::u64(..));
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let ports = ports.join(", ");
        nft(&format!(
            "table inet {table} {{ chain out {{ type filter hook output priority 0; \
             tcp dport {{ {ports} }} drop; tcp sport {{ {ports} }} drop; }}; }}"
        ))?;
        Ok(Self { table })
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = nft(&format!("delete table inet {}", self.table)) {
            errln!("nftables keeps its table {}: {error}", self.table);
        }
    }
}

fn nft(commands: &str) -> io::Result<()> {
    let mut process = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = process.stdin.take().expect("it is piped");
    input.write_all(commands.as_bytes())?;
    drop(input);
    let ended = process.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(io::Error::other(said.trim().to_owned()))
}
