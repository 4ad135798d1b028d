//! How decode workers find a prefill worker, and under which spelling of its name.
//!
//! A decode worker of SGLang remembers the ranks of a prefill worker by the text `host:port`, for as long as the
//! bootstrap server behind it answers. A worker that leaves the prefill role and comes back, or is started anew, has new
//! ranks, and the first request from each decode worker that remembers the old ones hangs until its timeout (300 s). So
//! each time a worker becomes a prefill worker its host is spelled in another way: names mean the same in any letter
//! case, and a decode worker that reads a new spelling asks anew.

use std::sync::Arc;

/// How decode workers find a prefill worker: they remember it by the text `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    pub host: Arc<str>,
    pub port: Option<u16>,
}

/// What stands for a loopback address where it needs another spelling: an address has only one that every resolver reads.
const LOOPBACK_NAME: &str = "localhost";

/// Letters of a name that are varied: 2^20 spellings are more than a worker has lives.
const VARIED_LETTERS: usize = 20;

/// How many spellings `host` has. One means that a worker under it can't become a prefill worker twice without decode
/// workers taking it for what it was.
pub fn spellings(host: &str) -> u32 {
    if is_loopback(host) {
        1 + variants(LOOPBACK_NAME)
    } else if is_address(host) {
        1
    } else {
        variants(host)
    }
}

/// The spelling of `host` in an epoch: as it is in epoch 0, and after [`spellings`] epochs again. A loopback address is
/// spelled `localhost` in the others.
pub fn spelling(host: &str, epoch: u32) -> String {
    match epoch % spellings(host) {
        0 => host.to_owned(),
        epoch if is_loopback(host) => variant(LOOPBACK_NAME, epoch - 1),
        epoch => variant(host, epoch),
    }
}

fn variants(name: &str) -> u32 {
    let letters = name.bytes().filter(u8::is_ascii_alphabetic).count();
    1 << letters.min(VARIED_LETTERS)
}

/// `name` with the case of each letter changed whose bit in `number` is set.
fn variant(name: &str, number: u32) -> String {
    let mut bit = 0;
    let spell = |letter: char| {
        if !letter.is_ascii_alphabetic() || bit == VARIED_LETTERS {
            return letter;
        }
        let changed = number >> bit & 1 == 1;
        bit += 1;
        match letter {
            _ if !changed => letter,
            'a'..='z' => letter.to_ascii_uppercase(),
            _ => letter.to_ascii_lowercase(),
        }
    };
    name.chars().map(spell).collect()
}

/// IPv6 addresses stand in brackets here, as in URLs.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_epoch_has_a_spelling_of_its_own_until_they_begin_anew() {
        let cases = [
            ("ab-1", 4),
            ("localhost", 512),
            ("127.0.0.1", 513),
            ("10.0.0.7", 1),
            ("[fd00::7]", 1),
        ];
        for (host, expected) in cases {
            assert_eq!(spellings(host), expected);
            let all: Vec<_> = (0..expected).map(|epoch| spelling(host, epoch)).collect();
            let different: HashSet<_> = all.iter().collect();
            assert_eq!(different.len(), all.len());
            assert_eq!((&*all[0], &*spelling(host, expected)), (host, host));
            let same = |text: &String| {
                [host, LOOPBACK_NAME]
                    .iter()
                    .any(|name| text.eq_ignore_ascii_case(name))
            };
            assert!(all.iter().all(same), "{host}");
        }
    }

    #[test]
    fn a_long_name_has_more_spellings_than_a_worker_has_lives() {
        let host = "gpu-node-with-a-long-name.cluster.example";
        assert_eq!(spellings(host), 1 << VARIED_LETTERS);
        assert_ne!(spelling(host, (1 << 20) - 1), host);
    }
}
