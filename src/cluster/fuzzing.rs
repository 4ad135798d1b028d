//! What must hold for any cluster file, as a function of its text: called by the fuzz target, and by a test with its
//! corpus. It stands here because what it looks at is private.

use std::path::PathBuf;

use super::Cluster;

/// A cluster file is refused or understood, and what is understood can be shown and registered.
pub fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(workers) = Cluster::read(text) else {
        return;
    };
    let cluster = Cluster {
        path: PathBuf::from("cluster.toml"),
        workers,
    };
    assert_eq!(cluster.specs().len(), cluster.workers().len());
    for worker in cluster.workers() {
        let again = cluster.fingerprint(worker);
        assert_eq!(cluster.fingerprint(worker), again);
    }
    let _ = cluster.launch_commands();
}
