//! Ports for programs that must be told theirs.

use std::{io, net::TcpListener, ops::Range};

/// Below the ports that Linux gives to outgoing connections (from 32768 on), so that none of those takes one between
/// the look and the program's start. Two measurements at once may still meet; the second program then fails to start,
/// which is noticed.
const RANGE: Range<u16> = 12_000..29_000;

/// Looks for each port; more only where nearly all are taken.
const TRIES: u32 = 100;

/// Different ports of this machine on which nobody listens.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    // All are held until all are found, so that they differ.
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = any_port()?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The first of so many ports in a row on which nobody listens.
pub fn free_range(ports: u16) -> io::Result<u16> {
    let last = RANGE.end.saturating_sub(ports).max(RANGE.start + 1);
    let mut tried = all_free(fastrand::u16(RANGE.start..last), ports);
    for _ in 1..TRIES {
        if tried.is_ok() {
            break;
        }
        tried = all_free(fastrand::u16(RANGE.start..last), ports);
    }
    tried
}

fn all_free(first: u16, ports: u16) -> io::Result<u16> {
    let held: io::Result<Vec<_>> = (first..first.saturating_add(ports))
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .collect();
    held.map(|_| first)
}

fn any_port() -> io::Result<TcpListener> {
    let look = || TcpListener::bind(("127.0.0.1", fastrand::u16(RANGE)));
    let mut found = look();
    for _ in 1..TRIES {
        if found.is_ok() {
            break;
        }
        found = look();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let ports: [u16; 8] = free_ports().unwrap();
        let bound: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind(("127.0.0.1", *port)))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(bound.len(), 8);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
