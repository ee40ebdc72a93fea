//! JSON objects and lists whose parts keep their order and, unless they are replaced, their text.
//!
//! A large document is not built in memory: a member is a part of the text that was read. The main
//! type is [`JsonMembers`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// Bound on the members of an object, and on the items of a list. Each takes up to 20 times its
/// shortest text in memory. The largest packages of public registries have some ten thousand.
const MAX_PARTS: usize = 200_000;

/// Members of a JSON object.
#[derive(Debug)]
pub struct JsonMembers<'a>(Vec<(String, Cow<'a, RawValue>)>);

/// Items of a JSON list, which keep their text unless they are replaced.
#[derive(Debug)]
pub struct JsonItems<'a>(Vec<Cow<'a, RawValue>>);

impl<'a> JsonMembers<'a> {
    /// Parses a JSON object.
    pub fn parse(text: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Parses a value as an object. `None` if it is something else.
    pub fn of_value(value: &'a RawValue) -> serde_json::Result<Option<Self>> {
        if value.get().starts_with('{') {
            serde_json::from_str(value.get()).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns a member of this type, if there is one.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.value(name)?.get()).ok()
    }

    /// Returns the text of a member. The last of equal names counts.
    pub fn value(&self, name: &str) -> Option<&RawValue> {
        let mut members = self.0.iter().rev();
        let (_, value) = members.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Replaces all members of this name.
    pub fn replace(&mut self, name: &str, new: &impl Serialize) -> serde_json::Result<()> {
        let new = to_raw_value(new)?;
        let named = self.0.iter_mut().filter(|(known, _)| known == name);
        for (_, value) in named {
            *value = Cow::Owned(new.clone());
        }
        Ok(())
    }

    /// Replaces the value of each member by that of `change`, if it returns one.
    pub fn change_each(
        &mut self,
        mut change: impl FnMut(&RawValue) -> serde_json::Result<Option<Box<RawValue>>>,
    ) -> serde_json::Result<()> {
        let mut values = self.0.iter_mut().map(|(_, value)| value);
        values.try_for_each(|value| replace_by(value, &mut change))
    }

    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

impl<'a> JsonItems<'a> {
    /// Parses a value as a list. `None` if it is something else.
    pub fn of_value(value: &'a RawValue) -> serde_json::Result<Option<Self>> {
        if value.get().starts_with('[') {
            serde_json::from_str(value.get()).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Replaces each item by that of `change`, if it returns one.
    pub fn change_each(
        &mut self,
        mut change: impl FnMut(&RawValue) -> serde_json::Result<Option<Box<RawValue>>>,
    ) -> serde_json::Result<()> {
        let mut items = self.0.iter_mut();
        items.try_for_each(|item| replace_by(item, &mut change))
    }
}

fn replace_by(
    value: &mut Cow<'_, RawValue>,
    change: &mut impl FnMut(&RawValue) -> serde_json::Result<Option<Box<RawValue>>>,
) -> serde_json::Result<()> {
    if let Some(new) = change(value)? {
        *value = Cow::Owned(new);
    }
    Ok(())
}

fn check_count<E: serde::de::Error>(count: usize) -> Result<(), E> {
    if count >= MAX_PARTS {
        return Err(E::custom(format_args!(
            "more than {MAX_PARTS} members or items"
        )));
    }
    Ok(())
}

impl<'de> Deserialize<'de> for JsonItems<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = JsonItems<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<&'de RawValue>()? {
                    check_count(items.len())?;
                    items.push(Cow::Borrowed(item));
                }
                Ok(JsonItems(items))
            }
        }

        deserializer.deserialize_seq(ListVisitor)
    }
}

impl Serialize for JsonItems<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| &**item))
    }
}

impl<'de> Deserialize<'de> for JsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = JsonMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    check_count(members.len())?;
                    members.push((name, Cow::Borrowed(value)));
                }
                Ok(JsonMembers(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

impl Serialize for JsonMembers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value.as_ref())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_members_keep_order_and_text() {
        let text = br#"{"z":1.50,"a":"\u00e9", "b":[ 1,2 ],"a":"x"}"#;
        let mut members = JsonMembers::parse(text).unwrap();
        assert_eq!(members.get::<String>("a").as_deref(), Some("x"));
        assert_eq!(members.get::<String>("b"), None);
        members.replace("a", &"new").unwrap();
        members.replace("missing", &"new").unwrap();
        let written = String::from_utf8(members.to_bytes().unwrap()).unwrap();
        assert_eq!(written, r#"{"z":1.50,"a":"new","b":[ 1,2 ],"a":"new"}"#);
        let many = vec!["\"a\":1"; MAX_PARTS + 1].join(",");
        assert!(JsonMembers::parse(format!("{{{many}}}").as_bytes()).is_err());
        for wrong in ["", "[]", "{\"a\":}", "{} x", "\"a\""] {
            assert!(JsonMembers::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
