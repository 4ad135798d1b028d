//! Label values that come from outside, bounded.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// The model label of a request that names none, as the peer has it.
const NO_MODEL: &str = "default";

/// The model label of every request beyond [`MODELS`] names: a client that makes names up makes no series.
const OTHER_MODEL: &str = "other";

/// No router serves this many models.
const MODELS: usize = 64;

/// The model names that have been seen.
#[derive(Debug, Default)]
pub struct ModelLabels {
    seen: RwLock<HashSet<Arc<str>>>,
}

impl ModelLabels {
    /// The label for a request's model.
    pub fn label(&self, model: Option<&str>) -> Arc<str> {
        let model = model.unwrap_or(NO_MODEL);
        if let Some(seen) = self.seen.read().get(model) {
            return Arc::clone(seen);
        }
        let mut seen = self.seen.write();
        if seen.len() == MODELS {
            return OTHER_MODEL.into();
        }
        let label: Arc<str> = model.into();
        seen.insert(Arc::clone(&label));
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_make_up_end_in_one_label() {
        let labels = ModelLabels::default();
        assert_eq!(&*labels.label(None), "default");
        for number in 1..MODELS {
            let name = number.to_string();
            assert_eq!(*labels.label(Some(&name)), name);
        }
        assert_eq!(&*labels.label(Some("one more")), "other");
        assert_eq!(&*labels.label(Some("3")), "3");
        assert_eq!(&*labels.label(None), "default");
    }
}
