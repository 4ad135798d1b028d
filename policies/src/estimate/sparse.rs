//! Traffic as it is written down: the classes that saw any, by their number. Most have none.

use std::collections::BTreeMap;

use serde::{Deserialize as _, Deserializer, Serializer};

use super::{CLASSES, ClassTraffic, Traffic};

pub fn serialize<S: Serializer>(traffic: &Traffic, serializer: S) -> Result<S::Ok, S::Error> {
    let seen = traffic
        .iter()
        .enumerate()
        .filter(|(_, class)| **class != ClassTraffic::default());
    serializer.collect_map(seen)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Traffic, D::Error> {
    let mut traffic = Traffic::default();
    for (class, seen) in BTreeMap::<usize, ClassTraffic>::deserialize(deserializer)? {
        *traffic.get_mut(class).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "there is no class {class}, only 0 to {}",
                CLASSES - 1
            ))
        })? = seen;
    }
    Ok(traffic)
}
