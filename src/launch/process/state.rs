//! The state file: which process is which worker, for the router that comes after this one.
//!
//! It is replaced as a whole, by a rename of a file that is on the disk, so that a router that is killed while it writes
//! leaves the old one or the new one. A worker is written down before it is started, by the text that its environment
//! will hold, and again when its process is known: a router that is killed in between leaves no process that nobody
//! finds.
//!
//! A lock beside it, which ends with the router however that ends, keeps two routers from keeping the same workers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use policies::worker::Role;
use serde::{Deserialize, Serialize};

use super::error::StartError;
use super::group::Group;
use super::proc::{self, Identity};
use super::running::{LAUNCH_VARIABLE, Running};

const FILE: &str = "workers.json";
const LOCK: &str = "lock";

/// Of the form below. A router that doesn't know the number doesn't touch the workers.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    /// The start of the machine that the processes belong to.
    boot: String,
    workers: BTreeMap<String, Record>,
}

/// What is known of a worker's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) url: String,
    pub(super) role: Role,
    /// The value of `ADAPTIVE_ROUTER_LAUNCH` in its environment.
    pub(super) launch: String,
    /// Unknown between the start and the next write.
    pub(super) process: Option<Identity>,
    /// A hash of the command line, to tell whether the cluster file has another one now.
    pub(super) command: String,
    /// Of the spelling by which decode workers know it: they must not meet an older one again.
    pub(super) epoch: u32,
}

impl Record {
    /// The process, if it still runs.
    pub(super) fn running(&self) -> Option<Running> {
        match self.process {
            Some(identity) => Running::adopt(identity),
            None => Running::adopt(proc::leader_with(LAUNCH_VARIABLE, &self.launch)?),
        }
    }

    /// What may be left of it, also without its main process.
    pub(super) fn group(&self) -> Option<Group> {
        self.process.map(|leader| Group { leader })
    }
}

/// The state of a folder, which is this router's alone.
#[derive(Debug)]
pub(super) struct StateFile {
    folder: PathBuf,
    workers: Mutex<BTreeMap<String, Record>>,
    _locked: File,
}

impl StateFile {
    /// Makes the folder this router's, and reads what the one before left.
    pub(super) fn open(folder: &Path) -> Result<Self, StartError> {
        let not_kept = |cause| StartError::StateDir {
            path: folder.to_owned(),
            cause,
        };
        fs::create_dir_all(folder).map_err(not_kept)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(folder.join(LOCK))
            .map_err(not_kept)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StartError::Locked {
                    path: folder.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(cause)) => return Err(not_kept(cause)),
        }
        let state = Self {
            folder: folder.to_owned(),
            workers: Mutex::new(read(&folder.join(FILE))?),
            _locked: lock,
        };
        // Now, rather than after the first worker was started, it is known whether the file can be written.
        state.write(&state.workers.lock()).map_err(not_kept)?;
        Ok(state)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn workers(&self) -> BTreeMap<String, Record> {
        self.workers.lock().clone()
    }

    /// Writes down what is known of a worker; `None` forgets it.
    pub(super) fn put(&self, worker: &str, record: Option<Record>) -> io::Result<()> {
        let mut workers = self.workers.lock();
        match record {
            Some(record) => workers.insert(worker.to_owned(), record),
            None => workers.remove(worker),
        };
        self.write(&workers)
    }

    fn write(&self, workers: &BTreeMap<String, Record>) -> io::Result<()> {
        let saved = Saved {
            version: VERSION,
            boot: proc::boot_id(),
            workers: workers.clone(),
        };
        let text = serde_json::to_vec_pretty(&saved).expect("names and numbers can be written");
        let (new, path) = (self.folder.join("workers.json.new"), self.folder.join(FILE));
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // The rename itself is on the disk when the folder is.
        File::open(&self.folder)?.sync_all()
    }
}

/// What the file says, less what an earlier start of the machine took with it.
fn read(path: &Path) -> Result<BTreeMap<String, Record>, StartError> {
    match fs::read(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(unreadable(path, error.to_string())),
    }
}

fn unreadable(path: &Path, cause: String) -> StartError {
    StartError::StateUnreadable {
        path: path.to_owned(),
        cause,
    }
}

/// The same of the text that the file at `path` has.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<BTreeMap<String, Record>, StartError> {
    let unreadable = |cause| unreadable(path, cause);
    let saved: Saved =
        serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    if saved.version != VERSION {
        let found = saved.version;
        return Err(unreadable(format!(
            "it has version {found}, of another router"
        )));
    }
    if saved.boot != proc::boot_id() {
        return Ok(BTreeMap::new());
    }
    Ok(saved.workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("state-{}", uuid::Uuid::new_v4()))
    }

    fn record(launch: &str) -> Record {
        Record {
            url: "http://127.0.0.1:1".to_owned(),
            role: Role::Prefill,
            launch: launch.to_owned(),
            process: None,
            command: String::new(),
            epoch: 7,
        }
    }

    #[test]
    fn what_one_router_writes_the_next_one_reads() {
        let folder = folder();
        let state = StateFile::open(&folder).unwrap();
        for name in ["a", "b"] {
            state.put(name, Some(record(name))).unwrap();
        }
        state.put("a", None).unwrap();
        assert!(matches!(
            StateFile::open(&folder),
            Err(StartError::Locked { .. })
        ));
        drop(state);
        let state = StateFile::open(&folder).unwrap();
        assert_eq!(
            state.workers(),
            BTreeMap::from([("b".to_owned(), record("b"))])
        );
        drop(state);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn after_a_start_of_the_machine_nothing_runs_and_what_isn_t_understood_is_an_error() {
        let folder = folder();
        let state = StateFile::open(&folder).unwrap();
        state.put("a", Some(record("a"))).unwrap();
        drop(state);
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&proc::boot_id(), "another")).unwrap();
        assert!(read(&path).unwrap().is_empty());
        for bad in [
            text.replace("\"version\": 1", "\"version\": 2"),
            text[..20].to_owned(),
        ] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(
                read(&path),
                Err(StartError::StateUnreadable { .. })
            ));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    /// What a reader finds at an instant is what a router that is killed at that instant leaves: the kernel keeps what a
    /// process has written, and nothing of what it has not.
    #[test]
    fn the_file_is_whole_at_every_instant_in_which_it_is_written() {
        let folder = folder();
        let state = StateFile::open(&folder).unwrap();
        let path = folder.join(FILE);
        let written = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut reads, mut seen) = (0_u64, std::collections::BTreeSet::new());
                while !written.load(std::sync::atomic::Ordering::Relaxed) {
                    let workers = read(&path).expect("whole, and understood");
                    seen.insert(workers.get("a").map(|record| record.launch.len()));
                    reads += 1;
                }
                (reads, seen)
            });
            // Records of very different lengths: a file that is written over would show the rest of a longer one.
            for length in (0..150).map(|step| step * 7919 % 60_000) {
                state.put("a", Some(record(&"x".repeat(length)))).unwrap();
            }
            written.store(true, std::sync::atomic::Ordering::Relaxed);
            let (reads, seen) = reader.join().expect("every read was whole");
            assert!(reads > 0 && seen.len() > 1, "{reads} reads of {seen:?}");
        });
        drop(state);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_the_file_as_it_was() {
        let folder = folder();
        let state = StateFile::open(&folder).unwrap();
        state.put("a", Some(record("first"))).unwrap();
        // What is written next goes to a device that is always full.
        let new = folder.join("workers.json.new");
        std::os::unix::fs::symlink("/dev/full", &new).unwrap();
        let error = state.put("a", Some(record("second"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let kept = read(&folder.join(FILE)).unwrap();
        assert_eq!(kept["a"].launch, "first");
        fs::remove_file(&new).unwrap();
        state.put("a", Some(record("third"))).unwrap();
        assert_eq!(read(&folder.join(FILE)).unwrap()["a"].launch, "third");
        drop(state);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_process_that_has_the_number_of_another_is_not_taken_over() {
        let own = proc::process(i32::try_from(std::process::id()).unwrap())
            .unwrap()
            .identity;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        assert!(Running::adopt(own).is_some());
        let earlier = Identity {
            start: own.start - 1,
            ..own
        };
        assert!(Running::adopt(earlier).is_none());
        assert!(!Group { leader: earlier }.is_there());
    }
}
