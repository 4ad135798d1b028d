//! What `/proc` says of processes.

use std::fs;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A process for good: its number may be given to another one, which then has another start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// In clock ticks since the machine's start.
    pub(super) start: u64,
    pub(super) session: i32,
}

/// A process as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) identity: Identity,
    pub(super) group: i32,
    /// It ended, and only its number is left until its parent asks for it.
    pub(super) is_zombie: bool,
}

/// The process with this number.
pub(super) fn process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PARENT GROUP SESSION ...`, and the start as the 20th after the name, which may hold anything.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    Some(Process {
        identity: Identity {
            pid,
            start: fields.get(19)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
        },
        group: fields.get(2)?.parse().ok()?,
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// The numbers of all processes.
pub(super) fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process that was started with `NAME=VALUE` in its environment and leads its group.
pub(super) fn leader_with(name: &str, value: &str) -> Option<Identity> {
    let wanted = format!("{name}={value}");
    all()
        .filter_map(process)
        .filter(|process| process.group == process.identity.pid && !process.is_zombie)
        .map(|process| process.identity)
        .find(|identity| {
            // Not readable where it isn't this user's.
            let environment = fs::read(format!("/proc/{}/environ", identity.pid));
            environment.is_ok_and(|text| {
                text.split(|&b| b == 0)
                    .any(|line| line == wanted.as_bytes())
            })
        })
}

/// Another one after each start of the machine.
pub(super) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

/// As the kernel's calls take it. A signal to 1, 0 or less would go elsewhere than to a worker.
pub(super) fn number(pid: i32) -> Option<Pid> {
    if pid > 1 { Pid::from_raw(pid) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) Z 1 (b)) S 1 7 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let found = parse(7, stat).unwrap();
        assert_eq!((found.group, found.is_zombie), (7, false));
        assert_eq!((found.identity.start, found.identity.session), (4711, 5));
        assert_eq!(parse(7, "7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(process(own).unwrap().identity.pid, own);
        assert!(all().any(|pid| pid == own));
        assert!(!boot_id().is_empty());
    }

    #[test]
    fn neither_a_group_of_one_s_own_nor_the_first_process_is_ever_meant() {
        assert_eq!([-1, 0, 1].map(number), [None; 3]);
    }
}
