//! What a request brings to the queue besides its arrival: how urgent it is, and whose it is.

/// How urgent a request is: more is more urgent. Without one of its own a request is the least urgent, as in SGLang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub i64);

impl Default for Priority {
    fn default() -> Self {
        Self(i64::MIN)
    }
}

/// Whose a request is, by a number that means nothing else. Requests that say nothing of it are all one tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tenant(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub priority: Priority,
    pub tenant: Tenant,
}
