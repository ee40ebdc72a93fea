//! JSON objects whose members keep their order and, unless they are replaced, their text.
//!
//! A large document is not built in memory: a member is a part of the text that was read. The main
//! type is [`JsonMembers`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// Members of a JSON object.
#[derive(Debug)]
pub struct JsonMembers<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl<'a> JsonMembers<'a> {
    /// Parses a JSON object.
    pub fn parse(text: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }

    /// Parses a member as an object. `None` if it is something else.
    pub fn of_value(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
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
        for (_, value) in &mut self.0 {
            if let Some(new) = change(value)? {
                *value = Cow::Owned(new);
            }
        }
        Ok(())
    }

    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
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
        for wrong in ["", "[]", "{\"a\":}", "{} x", "\"a\""] {
            assert!(JsonMembers::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
