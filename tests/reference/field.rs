//! A field: its type, limits, default, description, values and rules.

use serde_json::Value;

use crate::text::{escape, take_sentence};

/// A field of an object.
pub struct Field<'a> {
    /// The path from the root of the object, with `[]` for the entries of a list.
    pub path: String,
    pub schema: &'a Value,
    pub required: bool,
    /// The pattern of RFC 3339 times, which the page shows as a type.
    pub time_pattern: &'a str,
}

impl<'a> Field<'a> {
    /// The entries of a list.
    fn items(&self) -> Option<&'a Value> {
        self.schema.get("items")
    }

    /// The values of a map.
    fn map_values(&self) -> Option<&'a Value> {
        self.schema.get("additionalProperties").filter(|values| values.is_object())
    }

    /// The schema with the fields below this one, if it has any.
    pub fn object(&self) -> Option<&'a Value> {
        [Some(self.schema), self.items()].into_iter().flatten().find(|schema| schema["properties"].is_object())
    }

    /// The path of the fields below this one.
    pub fn object_path(&self) -> String {
        format!("{}{}", self.path, if self.items().is_some() { "[]" } else { "" })
    }

    /// The type in words.
    pub fn type_name(&self) -> String {
        match (self.items(), self.map_values()) {
            (Some(items), _) => format!("list of {}s", self.name_of(items)),
            (_, Some(values)) => format!("map of {}s", self.name_of(values)),
            _ => self.name_of(self.schema),
        }
    }

    fn name_of(&self, schema: &Value) -> String {
        if schema["pattern"] == self.time_pattern {
            return "RFC 3339 time".to_owned();
        }
        let name = schema["type"].as_str().expect("a type");
        schema["format"].as_str().map_or(name.to_owned(), |format| format!("{name} ({format})"))
    }

    /// The type, whether the field is required, and the limits, in one line.
    fn facts(&self) -> String {
        let presence = if self.required { "required" } else { "optional" };
        let own = [self.type_name(), presence.to_owned()].into_iter().chain(self.limits(self.schema));
        let parts = [("each entry", self.items()), ("each value", self.map_values())];
        let below = parts.into_iter().filter_map(|(what, part)| Some((what, part?)));
        let below = below.flat_map(|(what, part)| self.limits(part).into_iter().map(move |it| format!("{what} {it}")));
        own.chain(below).collect::<Vec<_>>().join(", ")
    }

    fn limits(&self, schema: &Value) -> Vec<String> {
        let range = |min: &str, max: &str, unit: &str| match (schema[min].as_f64(), schema[max].as_f64()) {
            (Some(min), Some(max)) => Some(format!("{min} to {max}{unit}")),
            (None, Some(max)) => Some(format!("at most {max}{unit}")),
            (Some(min), None) => Some(format!("at least {min}{unit}")),
            (None, None) => None,
        };
        let pattern = schema["pattern"].as_str().filter(|pattern| *pattern != self.time_pattern);
        let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
        let keys: Vec<String> = keys.filter_map(Value::as_str).map(|key| format!("`{key}`")).collect();
        let unique = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some("no duplicates".to_owned()),
            Some("map") => Some(format!("one for each {}", keys.join(" and "))),
            _ => None,
        };
        let limits = [
            range("minLength", "maxLength", " characters").filter(|_| schema["pattern"] != self.time_pattern),
            range("minItems", "maxItems", " entries"),
            range("minProperties", "maxProperties", " entries"),
            range("minimum", "maximum", ""),
            pattern.map(|pattern| format!("pattern `{pattern}`")),
            unique,
        ];
        limits.into_iter().flatten().collect()
    }

    /// The body of the field's section.
    pub fn body(&self) -> String {
        let (values, description) = self.split_values();
        let mut description = description.join("\n\n");
        let mut paragraphs = vec![self.facts()];
        for start in ["Default: ", "Absent: "] {
            if let Some((sentence, rest)) = take_sentence(&description, start) {
                paragraphs.push(escape(&sentence));
                description = rest;
            }
        }
        paragraphs.insert(1, escape(&description));
        if self.items().is_some()
            && let Some(object) = self.object()
        {
            paragraphs.push(escape(object["description"].as_str().unwrap_or_default()));
        }
        if !values.is_empty() {
            let rows = values.iter().map(|(value, meaning)| format!("| `{value}` | {} |", escape(meaning)));
            paragraphs.push(format!("| value | meaning |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n")));
        }
        paragraphs.extend(self.rules());
        paragraphs.retain(|paragraph| !paragraph.is_empty());
        paragraphs.join("\n\n")
    }

    /// Each value of an enumeration with its meaning, and the paragraphs of the description without them.
    fn split_values(&self) -> (Vec<(&'a str, &'a str)>, Vec<&'a str>) {
        let schemas = [Some(self.schema), self.items()];
        let allowed = schemas.into_iter().flatten().filter_map(|schema| schema["enum"].as_array()).flatten();
        let allowed: Vec<&str> = allowed.filter_map(Value::as_str).collect();
        let (mut values, mut paragraphs) = (Vec::new(), Vec::new());
        for paragraph in self.schema["description"].as_str().unwrap_or_default().split("\n\n") {
            match paragraph.split_once(": ").filter(|(value, _)| allowed.contains(value)) {
                Some(described) => values.push(described),
                None => paragraphs.push(paragraph),
            }
        }
        let described: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        assert_eq!(described, allowed, "{}: a value has no meaning", self.path);
        (values, paragraphs)
    }

    /// The messages of the validation rules.
    fn rules(&self) -> Option<String> {
        let parts =
            [("", Some(self.schema)), ("Each entry: ", self.items()), ("Each value: ", self.map_values())].into_iter();
        let rules: Vec<String> =
            parts.flat_map(|(of, schema)| schema.into_iter().flat_map(move |schema| messages(of, schema))).collect();
        (!rules.is_empty()).then(|| format!("Rules:\n\n{}", rules.join("\n")))
    }
}

fn messages(of: &str, schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let message = |rule: &Value| rule["message"].as_str().expect("a rule has a message").to_owned();
    rules.map(|rule| format!("- {of}{}.", escape(&message(rule)))).collect()
}
