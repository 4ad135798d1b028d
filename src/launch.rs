//! Starting workers, and starting them in another role.

pub mod process;
