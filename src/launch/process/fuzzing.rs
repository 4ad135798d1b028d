//! What must hold for any state file, as a function of its text: called by the fuzz target, and by a test with its
//! corpus. It stands here because what it looks at is private.

use std::path::Path;

use super::state;

/// A state file is refused or understood, never half of it.
pub fn state_file(bytes: &[u8]) {
    let parsed = state::parse(Path::new("workers.json"), bytes);
    if parsed.is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
    }
}
