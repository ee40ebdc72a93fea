//! The document, and a check of values against its schemas.
//!
//! The check knows the keywords that the document uses, and fails at any other one. It is stricter
//! than JSON Schema: an object has no property that its schema does not name.

use serde_json::{Map, Value};

use super::METHODS;
use crate::harness::Gateway;

/// Keywords that say nothing about a value.
const ANNOTATIONS: [&str; 4] = ["description", "example", "format", "default"];

/// The description of the API.
pub struct Description {
    document: Value,
}

impl Description {
    pub fn of(gateway: &Gateway) -> Self {
        let answer = gateway.request("GET", "/openapi.json").send();
        answer.assert_status(200);
        Self {
            document: answer.json(),
        }
    }

    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns method and path of all operations.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().expect("paths");
        let mut all = Vec::new();
        for (path, item) in paths {
            for method in item.as_object().expect("an item").keys() {
                assert!(METHODS.contains(&method.as_str()), "{method} {path}");
                all.push((method.clone(), path.clone()));
            }
        }
        all
    }

    pub fn operation(&self, method: &str, path: &str) -> &Value {
        &self.document["paths"][path][method]
    }

    pub fn parameters(&self, method: &str, path: &str) -> Vec<Value> {
        let parameters = self.operation(method, path)["parameters"].as_array();
        parameters.cloned().unwrap_or_default()
    }

    /// Returns the described response of an operation for a status.
    #[track_caller]
    pub fn response(&self, method: &str, path: &str, status: u16) -> &Value {
        let response = &self.operation(method, path)["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path}: {status}");
        response
    }

    /// Asserts that each reference of the document has a target.
    pub fn assert_references_resolve(&self) {
        self.assert_references_in(&self.document);
    }

    fn assert_references_in(&self, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref") {
                    self.resolve(reference);
                }
                members
                    .values()
                    .for_each(|value| self.assert_references_in(value));
            }
            Value::Array(items) => items
                .iter()
                .for_each(|value| self.assert_references_in(value)),
            _ => {}
        }
    }

    fn resolve(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer.and_then(|pointer| self.document.pointer(pointer));
        found.unwrap_or_else(|| panic!("{reference} has no target"))
    }

    /// Asserts that the response to a GET of this path has the described form.
    #[track_caller]
    pub fn assert_describes(&self, path: &str, value: &Value) {
        let response = self.response("get", path, 200);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}: {response}");
        let found = self.check(schema, value);
        assert_eq!(found, Vec::<String>::new(), "{path}: {value}");
    }

    /// Returns the differences between a value and its schema.
    pub fn check(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check_at("", schema, value, &mut found);
        found
    }

    fn check_at(&self, at: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
        let keywords = schema.as_object().expect("a schema is an object");
        for (keyword, rule) in keywords {
            match keyword.as_str() {
                "$ref" => self.check_at(at, self.resolve(rule), value, found),
                "type" if !has_type(rule, value) => found.push(format!("{at}: no {rule}: {value}")),
                "enum" if !rule.as_array().is_some_and(|all| all.contains(value)) => {
                    found.push(format!("{at}: none of {rule}: {value}"));
                }
                "const" if rule != value => found.push(format!("{at}: not {rule}: {value}")),
                "oneOf" | "anyOf" => {
                    let all = rule.as_array().expect("a list of schemas");
                    if !all.iter().any(|one| self.check(one, value).is_empty()) {
                        found.push(format!("{at}: none of {rule}: {value}"));
                    }
                }
                "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                    found.push(format!("{at}: less than {rule}: {value}"));
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check_at(&format!("{at}/{number}"), rule, item, found);
                    }
                }
                "properties"
                | "required"
                | "allOf"
                | "additionalProperties"
                | "type"
                | "enum"
                | "const"
                | "minimum"
                | "maximum"
                | "propertyNames" => {}
                other => {
                    if !ANNOTATIONS.contains(&other) {
                        found.push(format!("{at}: the check does not know {other}"));
                    }
                }
            }
        }
        if let Some(members) = value.as_object() {
            self.check_members(at, schema, members, found);
        }
    }

    fn check_members(
        &self,
        at: &str,
        schema: &Value,
        members: &Map<String, Value>,
        found: &mut Vec<String>,
    ) {
        if schema.get("$ref").is_some() || schema.get("oneOf").is_some() {
            return;
        }
        let (mut properties, mut required) = (Map::new(), Vec::new());
        self.collect(schema, &mut properties, &mut required);
        for name in required {
            if !members.contains_key(&name) {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in members {
            let at = format!("{at}/{name}");
            match properties.get(name).or(schema.get("additionalProperties")) {
                Some(rule) => self.check_at(&at, rule, value, found),
                None => found.push(format!("{at} is not described")),
            }
        }
    }

    /// Collects the properties of a schema and of all its parts.
    fn collect(
        &self,
        schema: &Value,
        properties: &mut Map<String, Value>,
        required: &mut Vec<String>,
    ) {
        if let Some(reference) = schema.get("$ref") {
            return self.collect(self.resolve(reference), properties, required);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.collect(part, properties, required);
        }
        let own = schema["properties"].as_object().into_iter().flatten();
        properties.extend(own.map(|(name, rule)| (name.clone(), rule.clone())));
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }
}

fn has_type(rule: &Value, value: &Value) -> bool {
    match rule {
        Value::Array(all) => all.iter().any(|one| has_type(one, value)),
        _ => match rule.as_str().expect("a type has a name") {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other} is no type"),
        },
    }
}
