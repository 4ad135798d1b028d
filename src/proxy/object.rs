//! A JSON object as its members, each as it stands.
//!
//! What isn't changed is written as it came: unknown members, their order, number formats. Off the hot path only, where
//! a request or an event has to be changed in its middle.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members in their order.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    /// `None` where `json` is no object.
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The member's value; of several with one name the last, as Python's parsers have it. `null` is none.
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        let mut members = self.0.iter().rev();
        let (_, value) = members.find(|(member, _)| member == name)?;
        (value.get() != "null").then_some(value)
    }

    /// The member's value, where it is a `T`.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The member's value, where it is an object.
    pub(super) fn object(&self, name: &str) -> Option<Object<'_>> {
        Object::parse(self.get(name)?.get().as_bytes())
    }

    /// Puts `json` in the place of the member, or behind the others where there is none.
    pub(super) fn set(&mut self, name: &str, json: impl Into<String>) {
        let value = RawValue::from_string(json.into()).expect("only JSON is put into objects");
        let mut members = self.0.iter_mut().rev();
        match members.find(|(member, _)| member == name) {
            Some((_, place)) => *place = Cow::Owned(value),
            None => self
                .0
                .push((Cow::Owned(name.to_owned()), Cow::Owned(value))),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(member, _)| member != name);
    }

    pub(super) fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&serde_json::to_string(name).expect("a string is JSON"));
            json.push(':');
            json.push_str(value.get());
        }
        json.push('}');
        json
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, Cow<'de, RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    members.push((name, Cow::Borrowed(map.next_value::<&RawValue>()?)));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// A member's name, borrowed unless it is written with escapes.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_is_written_as_it_came() {
        let json = r#"{"a":1e400,"\u0062":"\u00e9","c":[ 1 ],"a":0.70}"#;
        let mut object = Object::parse(json.as_bytes()).unwrap();
        assert_eq!(object.read::<f64>("a"), Some(0.7), "the last one counts");
        object.set("b", "2");
        object.set("d", "{}");
        assert_eq!(
            object.to_json(),
            r#"{"a":1e400,"b":2,"c":[ 1 ],"a":0.70,"d":{}}"#
        );
        object.remove("a");
        assert_eq!(object.to_json(), r#"{"b":2,"c":[ 1 ],"d":{}}"#);
    }

    #[test]
    fn null_is_no_value_and_a_list_no_object() {
        let object = Object::parse(br#"{"a":null}"#).unwrap();
        assert!(object.get("a").is_none());
        assert!(Object::parse(b"[1]").is_none());
    }
}
