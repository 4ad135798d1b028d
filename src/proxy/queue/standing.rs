//! What a request's standing in the queue is: its tenant from its headers, its priority from its body.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use policies::queue::{Priority, Sharing, Standing, Tenant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::config::Urgent;

const ROUTING_KEY: &str = "x-smg-routing-key";

/// How the standing of requests is found. Where nothing of it is asked for, nothing is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Standings {
    sharing: Sharing,
    /// Whether all clients have to have the same key: then it tells none from another.
    one_key: bool,
    urgent: Option<Urgent>,
    /// So that nobody can choose a key with another's number.
    seed: u64,
}

impl Standings {
    pub const fn new(sharing: Sharing, one_key: bool, urgent: Option<Urgent>, seed: u64) -> Self {
        Self {
            sharing,
            one_key,
            urgent,
            seed,
        }
    }

    pub fn of(&self, headers: &HeaderMap, priority: Option<i64>) -> Standing {
        Standing {
            priority: self
                .urgent
                .map_or_else(Priority::default, |urgent| level(urgent, priority)),
            tenant: match self.sharing {
                Sharing::None => Tenant::default(),
                Sharing::Fair => self.tenant(headers),
            },
        }
    }

    fn tenant(&self, headers: &HeaderMap) -> Tenant {
        let key = headers.get(AUTHORIZATION).filter(|_| !self.one_key);
        let key = key.or_else(|| headers.get(ROUTING_KEY));
        key.map_or_else(Tenant::default, |key| {
            Tenant(xxh3_64_with_seed(key.as_bytes(), self.seed))
        })
    }
}

/// A request without a priority is the least urgent either way, as in SGLang.
fn level(urgent: Urgent, priority: Option<i64>) -> Priority {
    let priority = match urgent {
        Urgent::High => priority,
        Urgent::Low => priority.map(i64::saturating_neg),
    };
    priority.map_or_else(Priority::default, Priority)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                (
                    name.parse().expect("a header's name"),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_tenant_is_its_key_or_else_its_routing_key() {
        let key = |key| ("authorization", key);
        let routing = |key| (ROUTING_KEY, key);
        // The same tenant or not: with keys of their own, and with one key for all.
        let table = [
            (vec![key("a")], vec![key("a")], true, true),
            (vec![key("a")], vec![key("b")], false, true),
            (
                vec![key("a"), routing("1")],
                vec![key("a"), routing("2")],
                true,
                false,
            ),
            (
                vec![key("a"), routing("1")],
                vec![key("b"), routing("1")],
                false,
                true,
            ),
            (vec![routing("1")], vec![routing("2")], false, false),
            (vec![], vec![], true, true),
            (vec![], vec![routing("1")], false, false),
        ];
        for (one, other, of_own, of_all) in table {
            for (one_key, same) in [(false, of_own), (true, of_all)] {
                let standings = Standings::new(Sharing::Fair, one_key, None, 7);
                let of = |pairs| standings.of(&headers(pairs), None);
                assert_eq!(of(&one) == of(&other), same, "{one:?} {other:?} {one_key}");
            }
        }
    }

    #[test]
    fn without_shares_and_priorities_all_are_alike() {
        let standings = Standings::new(Sharing::None, false, None, 7);
        let one = standings.of(&headers(&[("authorization", "a")]), Some(5));
        assert_eq!(one, Standing::default());
    }

    #[test]
    fn a_priority_means_what_it_means_to_the_workers() {
        let table = [
            (Urgent::High, [Some(7), Some(0), Some(-7), None]),
            (Urgent::Low, [Some(-7), Some(0), Some(7), None]),
            (
                Urgent::High,
                [Some(i64::MAX), Some(7), Some(1 - i64::MAX), None],
            ),
            (
                Urgent::Low,
                [Some(i64::MIN), Some(7), Some(i64::MAX - 1), None],
            ),
        ];
        for (urgent, most_urgent_first) in table {
            let levels = most_urgent_first.map(|priority| level(urgent, priority));
            assert!(
                levels.is_sorted_by(|one, next| one > next),
                "{urgent:?} {levels:?}"
            );
        }
    }
}
