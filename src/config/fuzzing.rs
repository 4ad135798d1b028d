//! What must hold for any configuration file, as a function of its text: called by the fuzz target, and by a test with
//! its corpus. It stands here because what it looks at is private.

use super::file;

/// A configuration file is refused with a problem that can be shown, or understood as far as its shape goes.
pub fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(problem) = file::parse(text) {
        assert!(!problem.to_string().is_empty());
    }
}
