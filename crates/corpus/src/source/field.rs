//! Fields inside fields, by a path such as `meta.lang` or `messages.content`.

/// A value that may have fields or elements.
pub(super) trait Tree: Sized {
    /// The value of a key, where this is an object.
    fn entry(&self, key: &str) -> Option<&Self>;

    /// The elements, where this is an array.
    fn elements(&self) -> Option<&[Self]>;
}

/// The values at `path` in `value`: one, or one for each element of the arrays that the path leads through. `None`
/// where it leads nowhere. A key with dots in it is found before the path that it could be.
pub(super) fn find<'value, T: Tree>(value: &'value T, path: &str) -> Option<Vec<&'value T>> {
    let mut found = Vec::new();
    collect(value, path, &mut found).then_some(found)
}

fn collect<'value, T: Tree>(value: &'value T, path: &str, found: &mut Vec<&'value T>) -> bool {
    if let Some(elements) = value.elements() {
        return elements.iter().all(|element| collect(element, path, found));
    }
    if let Some(value) = value.entry(path) {
        found.push(value);
        return true;
    }
    let mut splits = splits(path);
    splits.any(|(key, rest)| value.entry(key).is_some_and(|value| collect(value, rest, found)))
}

/// The ways to take a path as a key and what follows, shortest key first.
pub(super) fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    path.match_indices('.').map(|(dot, _)| (&path[..dot], &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let value = json!({
            "a": {"b": "deep", "n": null}, "a.c": "dotted", "a.b.c": {"d": 1},
            "list": [{"x": "1", "y": {"z": "p"}}, {"x": "2", "y": {"z": "q"}}], "empty": [], "text": "t"
        });
        let cases: [(&str, Option<Vec<Value>>); 12] = [
            ("text", Some(vec![json!("t")])),
            ("a.b", Some(vec![json!("deep")])),
            ("a.c", Some(vec![json!("dotted")])),
            ("a.b.c.d", Some(vec![json!(1)])),
            ("a.n", Some(vec![Value::Null])),
            ("list.x", Some(vec![json!("1"), json!("2")])),
            ("list.y.z", Some(vec![json!("p"), json!("q")])),
            ("empty.x", Some(vec![])),
            ("list.none", None),
            ("a.b.d", None),
            ("text.x", None),
            ("", None),
        ];
        for (path, expected) in cases {
            let found = find(&value, path).map(|found| found.into_iter().cloned().collect::<Vec<_>>());
            assert_eq!(found, expected, "{path}");
        }
    }
}
